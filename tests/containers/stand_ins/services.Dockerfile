# Debian's haproxy, redis-cli and prometheus, for the images that need one of them.
FROM todo-stand-in
RUN apt-get update --quiet=2 \
    && apt-get install --quiet=2 --yes --no-install-recommends haproxy prometheus redis-tools wget \
    && rm -r /var/lib/apt/lists/*
