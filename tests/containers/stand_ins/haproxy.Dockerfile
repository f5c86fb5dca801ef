# haproxy, Debian's.
FROM todo-stand-in
RUN apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends haproxy \
    && install --directory --owner=haproxy /usr/local/etc/haproxy /var/lib/haproxy
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
