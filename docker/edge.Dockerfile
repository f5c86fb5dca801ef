# The HTTP edge. No Django here, and no way to reach the database.
FROM python:3.11-slim-bookworm AS builder
COPY requirements/edge.txt requirements/tracing.txt /tmp/
# Wheels only, so that no compiler is needed; hashes, so that no index can swap a file.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /tmp/edge.txt
# OpenTelemetry, only for who asks: --build-arg TRACING=true
ARG TRACING=false
RUN if [ "$TRACING" = true ]; then \
        python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
            --only-binary :all: --require-hashes -r /tmp/tracing.txt; \
    fi

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="todo-edge" \
      org.opencontainers.image.description="Todo pipeline: HTTP to Kafka"
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EDGE_HOST=0.0.0.0 \
    EDGE_PORT=7007 \
    EDGE_LOG_FORMAT=json
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp app
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY edge_api edge_api
RUN python -m compileall -q .
USER 10001:10001
EXPOSE 7007
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://localhost:7007/healthz', timeout=4)"]
CMD ["python", "-m", "edge_api"]
