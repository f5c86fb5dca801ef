"""Logging to stderr, as lines or JSON; repeated messages about one outage are dropped."""

import logging
import time
from logging.config import dictConfig

from edge_api.shared.hints import ADVICE_FILTERS, ADVICE_LOGGERS
from edge_api.shared.log_formats import FORMATTERS

REPEAT_AFTER_SECONDS = 30.0


class RepeatFilter(logging.Filter):
    """Pass each message template once in REPEAT_AFTER_SECONDS, so that an outage does not flood the log."""

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
    """Configure the root logger; `format_name` is line or json."""
    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": FORMATTERS,
            "filters": {"repeats": {"()": RepeatFilter}, **ADVICE_FILTERS},
            "handlers": {
                "all": {"class": "logging.StreamHandler", "formatter": format_name},
                "without_repeats": {"class": "logging.StreamHandler", "formatter": format_name, "filters": ["repeats"]},
            },
            "root": {"level": level, "handlers": ["all"]},
            "loggers": {
                **ADVICE_LOGGERS,
                # kafka-python logs every reconnect, and at INFO much more.
                "kafka": {"level": "WARNING", "handlers": ["without_repeats"], "propagate": False},
                "edge_api.publishing.in_flight": {"handlers": ["without_repeats"], "propagate": False},
                "uvicorn.error": {"handlers": ["without_repeats"], "propagate": False},
            },
        }
    )
