"""The Django project: settings, the Celery app, URLs."""

from todoproject.celery import app as celery_app

__all__ = ["celery_app"]
