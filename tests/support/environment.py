"""The environment of the tests: importing this module sets it and sets Django up.

Django reads its settings before any fixture runs, so the ports of services that start later are chosen here.
"""

import os

import django

from devstack.ports import free_port

POSTGRES_PORT, VALKEY_PORT, KAFKA_PORT = free_port(), free_port(), free_port()

# What a developer's shell holds must not leak in. Coverage is measured in the processes that run tests, and not in the
# programs that they start, which it would slow down.
foreign = ("DJANGO_", "KAFKA_", "EDGE_", "OTEL_", *(["COVERAGE_"] if "PYTEST_XDIST_WORKER" in os.environ else []))
for name in [name for name in os.environ if name.startswith(foreign)]:
    del os.environ[name]
os.environ.update(
    DJANGO_SETTINGS_MODULE="todoproject.settings",
    DJANGO_DEBUG="true",
    DJANGO_SECRET_KEY="only for tests",
    DJANGO_SECURE_SSL_REDIRECT="false",
    DJANGO_API_AUTH="open",
    EDGE_AUTH="open",
    DATABASE_URL=f"postgres://todos@127.0.0.1:{POSTGRES_PORT}/todos",
    REDIS_URL=f"redis://127.0.0.1:{VALKEY_PORT}/0",
    KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{KAFKA_PORT}",
)
django.setup()
