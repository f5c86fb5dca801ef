# prom/prometheus, Debian's, with its promtool.
FROM todo-stand-in-services
RUN install --directory --owner=nobody /prometheus
USER nobody
EXPOSE 9090
VOLUME /prometheus
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
