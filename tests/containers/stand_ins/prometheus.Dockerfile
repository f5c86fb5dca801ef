# prom/prometheus, Debian's, with its promtool.
FROM todo-stand-in
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends prometheus wget \
    && install --directory --owner=nobody /prometheus
USER nobody
EXPOSE 9090
VOLUME /prometheus
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
