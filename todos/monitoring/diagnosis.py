"""Find every problem of the pipeline, each cause before its consequences."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import timedelta

from todos.bounds import moment_of
from todos.event_log import LogUnavailable
from todos.models import HaltReason
from todos.monitoring import queries
from todos.monitoring.checks import ComponentCheck
from todos.monitoring.database import TableLock
from todos.monitoring.formatting import format_count, format_duration
from todos.monitoring.overview import Overview
from todos.monitoring.problems import HOLDS_PARTITION, PREVENTS_STORING, Problem, ProblemCode

RETENTION_SECONDS = 3600
TRANSACTION_SECONDS = 10  # producers commit in less


def diagnose(now: Overview, checks: list[ComponentCheck]) -> list[Problem]:
    """Return what is wrong, without the consequences of what is listed already."""
    causes = [*failing_components(checks), *locked(now.locks), *_pause(now)]
    held = [*_held_rows(now), *_halted_partitions(now), *_open_transactions(now)]
    failing = [] if causes else list(_failing_polls(now))
    stalled = [] if causes or failing else _stalled_partitions(now, {problem.partition for problem in held})
    others = [*_losses(now), *_open_dead_letters(now), *_wrong_clocks(now), *_unpublished_offsets(now)]
    return [*causes, *held, *failing, *stalled, *others]


def failing_components(checks: list[ComponentCheck]) -> list[Problem]:
    """Return the problem of each component that fails."""
    return [check.problem for check in checks if check.problem]


def locked(locks: Iterable[TableLock]) -> list[Problem]:
    """Return the problem of each locked table."""
    return [Problem(ProblemCode.TABLE_LOCKED, str(lock), since=lock.since) for lock in locks]


def _pause(now: Overview) -> Iterator[Problem]:
    if not now.paused_schedules:
        return
    text = f"polling is paused: {', '.join(now.paused_schedules)}"
    if now.lag:
        text = f"{text}; {format_count(now.lag, 'todo waits', 'todos wait')} in Kafka"
        yield Problem(ProblemCode.PAUSED_WITH_BACKLOG, text, since=now.schedule.paused_at)
    else:
        yield Problem(ProblemCode.POLLING_PAUSED, text, since=now.schedule.paused_at)


def _held_rows(now: Overview) -> Iterator[Problem]:
    for row in now.held_rows:
        yield Problem(ProblemCode.ROW_HELD, f"partition {row.partition}: {row}", row.partition, row.since)


def _halted_partitions(now: Overview) -> Iterator[Problem]:
    for row in now.status.partitions:
        if row.halt_text:
            is_diverged = row.halt_reason == HaltReason.LOG_DIVERGED
            code = ProblemCode.LOG_DIVERGED if is_diverged else ProblemCode.PARTITION_HALTED
            text = f"partition {row.partition} is halted: {row.halt_text}"
            if row.lag and row.lag > 0:
                text += f"; {format_count(row.lag, 'record waits', 'records wait')} behind it"
            yield Problem(code, text, row.partition, row.halted_since)


def _open_transactions(now: Overview) -> Iterator[Problem]:
    for row in now.status.partitions:
        if row.transaction is None or row.end is None:
            continue
        since = moment_of(row.transaction.since_ms) or row.moved_at
        if since and (now.at - since).total_seconds() > TRANSACTION_SECONDS:
            start = row.transaction.first_offset
            held = format_count(row.end - start, "record is", "records are")
            producer = f" of {row.transaction.producer}" if row.transaction.producer else ""
            text = f"partition {row.partition}: {held} held by an open transaction{producer} from offset {start}"
            yield Problem(ProblemCode.OPEN_TRANSACTION, text, row.partition, since)


def _failing_polls(now: Overview) -> Iterator[Problem]:
    if now.last_poll is None or not now.error:
        return
    prevented = now.last_seen.last(PREVENTS_STORING, now.at)
    if prevented and prevented >= now.last_poll.ended_at:
        return
    _, _, text = now.error.partition(": ")
    halts = [row.halt_text for row in now.status.partitions if row.halt_text]
    if any((text and text in halt) or halt in now.error for halt in halts):
        return
    error = now.error.splitlines()[0]
    if error.startswith(LogUnavailable.__name__):
        yield Problem(ProblemCode.READ_FAILING, f"polls cannot read Kafka: {error}", since=now.failing_since)
    else:
        yield Problem(ProblemCode.STORE_FAILING, f"polls store nothing: {error}", since=now.failing_since)


def _stalled_partitions(now: Overview, held: AbstractSet[int | None]) -> Iterator[Problem]:
    """Yield the partitions whose ledger does not move, for no cause that is known, though records wait and polls end.

    A whole poll has to begin and end while they wait: after an outage everything waits, and is only late.
    """
    for row in now.status.partitions:
        if not row.lag or row.lag < 0 or row.behind is None or row.partition in held:
            continue
        produced_at = now.at - timedelta(seconds=row.behind)
        since = max(row.moved_at, produced_at) if row.moved_at else produced_at
        causes = (
            now.last_seen.last(PREVENTS_STORING, now.at),
            now.last_seen.last(HOLDS_PARTITION, now.at, row.partition),
        )
        could_advance = max([since, *filter(None, causes)])
        is_polled = now.last_poll is not None and now.last_poll.started_at > could_advance
        if is_polled and (now.at - could_advance).total_seconds() > now.patience_seconds:
            waiting = format_count(row.lag, "todo waits", "todos wait")
            text = f"partition {row.partition} does not advance, though polls end: {waiting}"
            yield Problem(ProblemCode.PARTITION_STALLED, text, row.partition, since)


def _losses(now: Overview) -> Iterator[Problem]:
    for row in now.status.partitions:
        if row.recently_deleted:
            deleted = f"Kafka deleted {row.recently_deleted:,} offsets in the last day before they were stored"
            yield Problem(ProblemCode.OFFSETS_LOST, f"partition {row.partition}: {deleted}", row.partition)
    if now.deleted_in is not None and now.deleted_in < RETENTION_SECONDS:
        text = f"Kafka may delete unread todos in {format_duration(now.deleted_in)}"
        yield Problem(ProblemCode.RETENTION_NEAR, text)


def _wrong_clocks(now: Overview) -> Iterator[Problem]:
    for clock in now.clocks:
        yield Problem(ProblemCode(clock.code), str(clock), since=clock.since)


def _open_dead_letters(now: Overview) -> Iterator[Problem]:
    if letters := sum(now.dead_letters.values()):
        more = "or more " if letters == queries.MAX_COUNTED_LETTERS else ""
        text = f"{letters:,} {more}dead letters are open" if letters > 1 else "1 dead letter is open"
        yield Problem(ProblemCode.DEAD_LETTERS_OPEN, text)


def _unpublished_offsets(now: Overview) -> Iterator[Problem]:
    if now.unpublished is None:
        if any(row.next_offset for row in now.status.partitions):  # before the first todo there is nothing to publish
            text = "Kafka's copy of the offsets is unknown: the coordinator of the consumer group does not answer"
            yield Problem(ProblemCode.OFFSETS_UNPUBLISHED, text)
    elif offsets := sum(partition.offsets for partition in now.unpublished):
        since = min(partition.since for partition in now.unpublished)
        yield Problem(
            ProblemCode.OFFSETS_UNPUBLISHED, f"Kafka's copy of the offsets is {offsets:,} behind", since=since
        )
