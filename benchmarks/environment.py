"""Django's settings for this process and for all it starts; import it before anything that needs Django."""

import os
import secrets

import django

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "todoproject.settings",
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": secrets.token_urlsafe(48),
    "DJANGO_SECURE_SSL_REDIRECT": "false",  # plain HTTP on this machine
    # Each pipeline gets addresses of its own.
    "DATABASE_URL": "postgres://nobody@localhost:1/none",
    "REDIS_URL": "redis://localhost:1/0",
}

# What a developer's shell holds must not leak in.
for name in [name for name in os.environ if name.startswith(("DJANGO_", "KAFKA_", "EDGE_"))]:
    del os.environ[name]
os.environ.update(PRODUCTION)
django.setup()
