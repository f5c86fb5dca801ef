"""Decodes what kafka-python fetched: every offset becomes a record, or Undecodable if its bytes are damaged.

All code on the Django side that uses private parts of kafka-python, or aiokafka's record classes, is in this package.
Both are pinned, and self_check tries them out before their first use.
"""

import logging
from functools import cache
from typing import Any

log = logging.getLogger(__name__)


def install(consumer: Any) -> bool:
    """Let a KafkaConsumer read by this package. False, with one warning, if its private parts have changed."""
    reason = _reason_against_it()
    if reason is None:
        from todos.kafka.decoding import fetcher

        try:
            fetcher.install(consumer)
        except AttributeError as exc:
            reason = str(exc)
    if reason is not None:
        _warn(reason)
    return reason is None


@cache
def _reason_against_it() -> str | None:
    """Run the self-check once per process; return why it failed, or None."""
    try:
        from todos.kafka.decoding import self_check

        self_check.check()
    except Exception as exc:  # noqa: BLE001 - a name that moved, or another outcome: both mean that it has changed
        return f"{type(exc).__name__}: {exc}"
    return None


@cache
def _warn(reason: str) -> None:
    log.warning(
        "kafka-python or aiokafka is not the version that this reads: %s. Reading through kafka-python's public API:"
        " slower, still exact, but a damaged batch halts its partition instead of becoming dead letters.",
        reason,
    )
