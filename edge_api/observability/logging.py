"""Logging to stderr, lines for people or JSON for machines; repeated lines of libraries are thinned out."""

import logging
import time
from logging.config import dictConfig

from edge_api.shared.hints import ADVICE_FILTERS, ADVICE_LOGGERS

REPEAT_AFTER_SECONDS = 30.0


class RepeatFilter(logging.Filter):
    """Lets each message template pass once per REPEAT_AFTER_SECONDS, so that an outage does not flood the log."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        template, now = (record.name, str(record.msg)[:40]), time.monotonic()
        if now - self._passed_at.get(template, -REPEAT_AFTER_SECONDS) < REPEAT_AFTER_SECONDS:
            return False
        self._passed_at[template] = now
        return True


def configure_logging(level: str, format_name: str) -> None:
    """`format_name` is line or json."""
    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": "%(levelname)s %(name)s %(message)s",
                    "rename_fields": {"levelname": "level", "name": "logger"},
                    "timestamp": "time",
                },
            },
            "filters": {"repeats": {"()": RepeatFilter}, **ADVICE_FILTERS},
            "handlers": {
                "all": {"class": "logging.StreamHandler", "formatter": format_name},
                "thinned": {"class": "logging.StreamHandler", "formatter": format_name, "filters": ["repeats"]},
            },
            "root": {"level": level, "handlers": ["all"]},
            "loggers": {
                **ADVICE_LOGGERS,
                # kafka-python repeats itself on every reconnect, and at INFO it tells its inner life.
                "kafka": {"level": "WARNING", "handlers": ["thinned"], "propagate": False},
                "edge_api.publishing.in_flight": {"handlers": ["thinned"], "propagate": False},
                "uvicorn.error": {"handlers": ["thinned"], "propagate": False},
            },
        }
    )
