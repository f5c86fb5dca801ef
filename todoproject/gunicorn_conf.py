"""Configure gunicorn, except for the address: `gunicorn --config python:todoproject.gunicorn_conf`."""

import os
from typing import Any

from django.conf import settings

from edge_api.shared.addresses import is_loopback
from todoproject.web_worker import choose_worker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

wsgi_app = "todoproject.wsgi"
worker_class = choose_worker()
workers = 2
threads = settings.WEB_THREADS
keepalive = 5
# A longer request line gets 414, more or larger header fields get 431.
limit_request_line, limit_request_fields, limit_request_field_size = 4094, 100, 8190
control_socket_disable = True
logconfig_dict = settings.LOGGING


def on_starting(server: Any) -> None:
    """Refuse an address that others can reach while DJANGO_DEBUG is on: errors show code, and the API may be open."""
    for address in server.address:
        if settings.DEBUG and isinstance(address, tuple) and not is_loopback(address[0]):
            raise SystemExit(f"DJANGO_DEBUG: must be false where others can reach the service, as on {address[0]}")
