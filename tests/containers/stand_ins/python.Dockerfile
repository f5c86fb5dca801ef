# python:3.11-slim-bookworm, from Debian's own Python of the same version.
FROM todo-stand-in
# This machine's certificates and pip settings: an index inside may be signed by an authority of its own.
COPY host /
RUN ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python3"]
