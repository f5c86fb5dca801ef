"""Define what the ingest, the audit and the monitors need of a partitioned log. todos.kafka implements it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self
from uuid import UUID
from zlib import crc32


class LogUnavailable(Exception):
    """The log cannot be reached now. Try again later."""


class PartitionUnreadable(LogUnavailable):
    """The log repeatedly failed to return the record at this offset. Other partitions may be readable."""

    def __init__(self, partition: int, offset: int, why: str) -> None:
        super().__init__(f"offset {offset} of partition {partition} cannot be read: {why}")
        self.partition, self.offset, self.why = partition, offset, why


class OffsetOutOfRange(Exception):
    """An assigned position is before the start of its partition or after its end."""


class RecordRefused(Exception):
    """The log will never accept this record as it is, and has not stored it."""


class Record(Protocol):
    """A record as read from the log.

    `timestamp` is in milliseconds since 1970, or -1. Bytes of a header's name that are not UTF-8 are escaped.
    `leader_epoch` counts the leaders of the partition up to the one that wrote the record; -1 if it is unknown.
    """

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
    @property
    def leader_epoch(self) -> int: ...


class Undecodable(NamedTuple):
    """A Record whose bytes the log cannot decode. `value` has the raw bytes, `why` the reason."""

    partition: int
    offset: int
    why: str
    value: bytes | None
    timestamp: int = -1
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    leader_epoch: int = -1


class RecordIdentity(NamedTuple):
    """What tells a record from any other at its offset. A log that still has it is the log that was read up to it."""

    offset: int
    checksum: int
    leader_epoch: int

    @classmethod
    def of(cls, record: Record) -> Self:
        """Identify a record by its timestamp, key, value and headers."""
        checksum = crc32(b"%d" % record.timestamp)
        named = ((name.encode("utf-8", "surrogateescape"), value) for name, value in record.headers)
        for part in (record.key, record.value, *(part for header in named for part in header)):
            checksum = crc32(part or b"", crc32(b"%d:" % (-1 if part is None else len(part)), checksum))
        return cls(record.offset, checksum, record.leader_epoch)

    def is_contradicted_by(self, found: Record) -> bool:
        """Tell whether `found`, the first record at or after this offset, proves that the log is another one.

        Bytes that rotted prove nothing, nor does a later record: compaction may have removed this one. But the epochs
        of a log never decrease.
        """
        if isinstance(found, Undecodable):
            return False
        if found.offset > self.offset:
            return 0 <= found.leader_epoch < self.leader_epoch
        other = RecordIdentity.of(found)
        has_epochs = min(self.leader_epoch, other.leader_epoch) >= 0
        return self.checksum != other.checksum or (has_epochs and self.leader_epoch != other.leader_epoch)


class LogDiverged(Exception):
    """The log is not the continuation of what was read: another record is where the last one was."""

    def __init__(self, partition: int, known: RecordIdentity, found: Record) -> None:
        super().__init__(
            f"is not the log that was stored: offset {known.offset} was a record of leader epoch {known.leader_epoch},"
            f" and offset {found.offset} is another one of leader epoch {found.leader_epoch}"
        )
        self.partition = partition


class OffsetRange(NamedTuple):
    """A range of offsets of one partition: `first` included, `end` not."""

    first: int
    end: int


class RecordPosition(NamedTuple):
    """The partition and offset at which the log stored a record."""

    partition: int
    offset: int


class Sender(Protocol):
    """Puts records into the log, one at a time."""

    def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes | None]]
    ) -> RecordPosition:
        """Send a record and return when every in-sync replica has stored it.

        Raises RecordRefused, or LogUnavailable within 5 seconds: then the log may have stored the record or not.
        """


class Retention(NamedTuple):
    """When the log deletes records: by age in seconds, and by size of a partition in bytes; None is never.

    More than 100 years are never, too. It deletes whole segments, so a record may stay for `segment_seconds` longer,
    the time for which a segment takes records.
    """

    seconds: float | None
    bytes: int | None
    segment_seconds: float | None = None


class OpenTransaction(NamedTuple):
    """A transaction of a producer that has not ended. Nothing from `first_offset` on is read until it has.

    `producer` is empty, and `since_ms` (milliseconds since 1970) negative, where the log does not tell.
    """

    first_offset: int
    producer: str = ""
    since_ms: int = -1


class Log(Protocol):
    """One topic. Every method ends in bounded time and raises LogUnavailable if the log does not answer."""

    topic: str

    def partitions(self) -> list[int]:
        """Return the numbers of the topic's partitions."""

    def identity(self) -> UUID | None:
        """Return the topic's id, which changes when the topic is recreated; None for a log without ids."""

    def offset_ranges(self, partitions: Iterable[int]) -> dict[int, OffsetRange]:
        """Return the offsets that each partition holds."""

    def open_transactions(self, ends: Mapping[int, int]) -> dict[int, OpenTransaction]:
        """Return the oldest open transaction of each partition that has one before its offset in `ends`."""

    def retention(self) -> Retention:
        """Return when the log deletes records of the topic."""

    def first_records(self, positions: Mapping[int, int]) -> dict[int, Record]:
        """Return the first record at or after each position.

        It replaces the current assignment. Partitions whose record does not arrive in time are left out. Raises
        OffsetOutOfRange.
        """

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and discard what was fetched before."""

    def poll(self, *, timeout_ms: int, max_records: int) -> dict[int, Sequence[Record]]:
        """Return the next records of each assigned partition, in order. Raises OffsetOutOfRange."""

    def positions(self) -> dict[int, int]:
        """Return the next offset of each assigned partition, behind the polled records and offsets without a record."""

    def publish(self, positions: Mapping[int, int]) -> None:
        """Tell the log's own tools up to which offset each partition is stored, in the background.

        This is advisory. It replaces offsets that are not published yet, returns at once and raises nothing.
        """

    def finish_publishing(self, seconds: float) -> None:
        """Wait until all offsets are published, for `seconds` at most. Raises nothing."""
