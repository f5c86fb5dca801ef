"""Configure logging to stderr: lines for people, or JSON for machines."""

import logging
from contextvars import ContextVar
from typing import Any

from edge_api.shared.hints import ADVICE_FILTERS, ADVICE_LOGGERS

FORMATS = ("line", "json")
# Requested every few seconds by machines.
PROBES = frozenset({"/healthz", "/readyz", "/readyz/pipeline"})
# The id of the HTTP request that this thread answers.
request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestFilter(logging.Filter):
    """Add the id of the current request to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
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


class LineFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        return f"{line} [{record.request_id}]" if hasattr(record, "request_id") else line


def logging_config(level: str, format_name: str) -> dict[str, Any]:
    """Return the configuration for logging.config.dictConfig; `format_name` is one of FORMATS."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": LineFormatter},
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": "%(levelname)s %(name)s %(message)s",
                "rename_fields": {"levelname": "level", "name": "logger"},
                "timestamp": "time",
            },
        },
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
            "django.request": {"filters": ["probe_failures"]},
            "gunicorn.error": {"handlers": [], "propagate": True},
            "gunicorn.access": {"handlers": [], "level": "WARNING"},  # todoproject.middleware logs the requests
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
