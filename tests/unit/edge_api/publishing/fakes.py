"""A producer that does what a test tells it."""

from collections.abc import Callable, Sequence

from edge_api.publishing.producer import OutgoingRecord, Producer, SendOutcome


class FakeProducer(Producer):
    """Keeps what was sent until the test resolves it, or raises `error` instead."""

    max_batch_bytes = 1_000

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.reason: str | None = None
        self.sent: list[tuple[Sequence[OutgoingRecord], Callable[[SendOutcome], None]]] = []
        self.is_aborted = False

    def send(self, records: Sequence[OutgoingRecord], resolved: Callable[[SendOutcome], None]) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((records, resolved))

    def unavailable_reason(self) -> str | None:
        return self.reason

    def abort(self) -> None:
        self.is_aborted = True
