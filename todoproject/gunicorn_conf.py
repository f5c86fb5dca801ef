"""gunicorn's configuration, but for the address: `gunicorn --config python:todoproject.gunicorn_conf`."""

import os

from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

wsgi_app = "todoproject.wsgi"
worker_class = "todoproject.web_worker.PollingThreadWorker"
workers = 2
threads = 4
keepalive = 5
# Beyond them 414 and 431.
limit_request_line, limit_request_fields, limit_request_field_size = 4094, 100, 8190
control_socket_disable = True
logconfig_dict = settings.LOGGING
