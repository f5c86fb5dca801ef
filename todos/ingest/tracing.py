"""The ingest's door to OpenTelemetry. Shut without DJANGO_TRACING; whatever happens behind it, the ingest goes on."""

import logging
import time

from django.conf import settings

from todos.ingest.parsing import ParsedBatch
from todos.ingest.store import StoreResult
from todos.ledger.batch_history import WriterInfo

logger = logging.getLogger(__name__)


def trace_batch(topic: str, batch: ParsedBatch, stored: StoreResult, origin: WriterInfo, started_ns: int) -> None:
    """Call it when the batch is stored; `started_ns` is Unix time."""
    if not settings.TRACING or stored.dead_letters > len(batch.dead_letters):
        return  # some of the todos were refused, and nothing says here which of them
    try:
        from todos.ingest import spans

        spans.record(topic, batch, origin, started_ns, time.time_ns())
    except Exception as exc:  # noqa: BLE001 - the batch is stored, a trace is not worth an error
        logger.warning("A batch is not traced: %s: %s", type(exc).__name__, exc)


def stop_tracing() -> None:
    """Sends what waits, and blocks for 3 seconds at most."""
    if settings.TRACING:
        from todos.ingest import spans

        spans.stop()
