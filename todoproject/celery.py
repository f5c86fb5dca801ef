"""Make the Celery app; its options are the CELERY_* names of settings.py."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")  # Django's, for which a worker would import the whole web side

# By alias, not by the setting broker_transport: with that, kombu would take no notice of the TLS of rediss://.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "todoproject.broker:Transport"))

app = Celery("todoproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
