"""What the ingest needs of a partitioned log. todos.kafka implements it; the ingest never sees Kafka itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID


class LogUnavailable(Exception):
    """The log cannot be reached now; try again later."""


class PartitionUnreadable(LogUnavailable):
    """Asked again and again, the log does not tell what stands at this offset; other partitions may be fine."""

    def __init__(self, partition: int, offset: int, why: str) -> None:
        super().__init__(f"offset {offset} of partition {partition} cannot be read: {why}")
        self.partition, self.offset, self.why = partition, offset, why


class OffsetOutOfRange(Exception):
    """Some assigned position is not in the log any more, or not yet."""


class RecordRefused(Exception):
    """The log will never take this record as it is; it is not in the log."""


class Record(Protocol):
    """`timestamp` is in milliseconds since 1970, or -1; bytes of a header's name that are not UTF-8 are escaped."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class Undecodable(NamedTuple):
    """A Record whose bytes the log itself cannot explain: `value` is what stands in its place."""

    partition: int
    offset: int
    why: str
    value: bytes | None
    timestamp: int = -1
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class OffsetRange(NamedTuple):
    """The offsets a partition holds: `first` included, `end` not."""

    first: int
    end: int


class RecordPosition(NamedTuple):
    """Where the log keeps a record."""

    partition: int
    offset: int


class Sender(Protocol):
    """Puts records into the log, one at a time."""

    def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes | None]]
    ) -> RecordPosition:
        """Returns when every in-sync replica has the record.

        Raises RecordRefused, or within 5 seconds LogUnavailable: then it may be in the log or not.
        """


class Retention(NamedTuple):
    """When the log deletes records: by age, by the size of a partition; None is never."""

    seconds: float | None
    bytes: int | None


class Log(Protocol):
    """One topic. Every method ends in bounded time and raises LogUnavailable when the log does not answer."""

    topic: str

    def partitions(self) -> list[int]: ...

    def identity(self) -> UUID | None:
        """Another one after the topic was deleted and made anew under its name; None where the log does not tell."""

    def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]: ...

    def retention(self) -> Retention: ...

    def timestamps(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Of the first record at or after each position, milliseconds since 1970; forgets what is assigned.

        Partitions whose record does not come in time are left out. Raises OffsetOutOfRange.
        """

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on; forget whatever was read ahead."""

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        """The next records of each assigned partition, in order. Raises OffsetOutOfRange."""

    def positions(self) -> dict[int, int]:
        """The next offset of each assigned partition, behind what was polled and what the log holds no record of."""

    def publish(self, positions: Mapping[int, int]) -> None:
        """Tell the log's own tools how far each partition is stored. Advisory."""
