"""Configure logging to stderr: lines for people, or JSON for machines."""

import logging
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from edge_api.shared.hints import ADVICE_FILTERS, ADVICE_LOGGERS
from edge_api.shared.log_formats import FORMATTERS

# Requested every few seconds by machines.
PROBES = frozenset({"/healthz", "/readyz", "/readyz/pipeline"})
# The id of the HTTP request that this thread answers.
request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestFilter(logging.Filter):
    """Add the id of the current request to each record. Drop the traceback of an error that the client has made."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR) < HTTPStatus.INTERNAL_SERVER_ERROR:
            record.exc_info = None
        if current := request_id.get():
            record.request_id = current
        return True


class LibraryOutages(logging.Filter):
    """Drop what libraries log at each attempt of an outage that this project logs once, when it begins and ends."""

    FUNCTIONS = frozenset(
        {
            "on_connection_error_after_connected",  # celery.worker.consumer.consumer
            "sync",  # django_celery_beat.schedulers
        }
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return record.funcName not in self.FUNCTIONS


class ProbeFailures(logging.Filter):
    """Drop Django's line for each response of a probe that is not 200; the middleware logs each change."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(getattr(record, "request", None), "path", None) not in PROBES


def logging_config(level: str, format_name: str) -> dict[str, Any]:
    """Return the configuration for logging.config.dictConfig; `format_name` is one of FORMATS."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": FORMATTERS,
        "filters": {
            "request": {"()": RequestFilter},
            "library_outages": {"()": LibraryOutages},
            "probe_failures": {"()": ProbeFailures},
            **ADVICE_FILTERS,
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": format_name, "filters": ["request"]},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            **ADVICE_LOGGERS,
            # Django's own handlers would mail administrators and print in another format.
            "django": {"handlers": [], "propagate": True},
            # todoproject.middleware logs each request, with what is wrong with its Host.
            "django.request": {"level": "ERROR", "filters": ["probe_failures"]},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            # Each of these logs a line per tick, poll or reconnect at INFO.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.worker.request": {"level": "WARNING"},  # for example ticks that expired
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.consumer": {"level": "WARNING"},
            "celery.worker.consumer.consumer": {"filters": ["library_outages"]},
            "django_celery_beat": {"level": "WARNING"},
            "django_celery_beat.schedulers": {"filters": ["library_outages"]},
            "kafka": {"level": "ERROR"},
        },
    }
