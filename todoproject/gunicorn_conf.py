"""gunicorn's configuration, but for the address: `gunicorn --config python:todoproject.gunicorn_conf`."""

import os

from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

wsgi_app = "todoproject.wsgi"
worker_class = "todoproject.web_worker.PollingThreadWorker"
workers = 2
threads = settings.WEB_THREADS
keepalive = 5
control_socket_disable = True
logconfig_dict = settings.LOGGING
