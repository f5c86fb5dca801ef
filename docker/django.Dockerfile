# web, worker, beat and migrate: one image, four commands (compose.yml). No FastAPI here.
FROM python:3.11-slim-bookworm AS builder
COPY requirements/django.txt requirements/tracing.txt /tmp/
# Wheels only, so that no compiler is needed; hashes, so that no index can swap a file.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes -r /tmp/django.txt
# OpenTelemetry, only for who asks: --build-arg TRACING=true
ARG TRACING=false
RUN if [ "$TRACING" = true ]; then \
        python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
            --only-binary :all: --require-hashes -r /tmp/tracing.txt; \
    fi

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="todo-django" \
      org.opencontainers.image.description="Todo pipeline: ingest, admin and read API"
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    DJANGO_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 app && useradd --uid 10001 --gid app --no-create-home --home-dir /tmp app
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY edge_api/__init__.py edge_api/
COPY edge_api/contract edge_api/contract
COPY edge_api/shared edge_api/shared
COPY todos todos
COPY todoproject todoproject
COPY manage.py docker/migrate.sh ./
# Settings refuse to start without these three; none of them is used or kept.
RUN DJANGO_SECRET_KEY=only-while-static-files-are-collected-0123456789-abcdef DATABASE_URL=postgres://build/build REDIS_URL=redis://build \
    python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q .
USER 10001:10001
EXPOSE 7008
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://localhost:7008/healthz', timeout=4)"]
CMD ["python", "-m", "todoproject.web", "--host=0.0.0.0"]
