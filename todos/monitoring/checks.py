"""Judge each component of the pipeline: Kafka, Redis, the database, beat and the workers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from todos.monitoring.formatting import format_count
from todos.monitoring.overview import Overview
from todos.monitoring.probes import KafkaState, ProbeResult, RedisState
from todos.monitoring.problems import Problem, ProblemCode

WAITING_TICKS_WARNING = 10


class CheckState(StrEnum):
    """The state of one component; UNKNOWN while another component's failure hides it."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ComponentCheck:
    """The state of one component. `seen` is its last sign of life, `code` the problem that it is, if it is one."""

    name: str
    state: CheckState
    text: str
    seen: datetime | None = None
    code: ProblemCode | None = None
    since: datetime | None = None

    @property
    def problem(self) -> Problem | None:
        return Problem(self.code, f"{self.name}: {self.text}", since=self.since) if self.code else None


def check_components(now: Overview) -> list[ComponentCheck]:
    """Judge every component, from the outside in. Where one fails, what depends on it is unknown."""
    services = [check_kafka(now.kafka), check_redis(now.redis), _check_database(now)]
    at_fault = next((f"{check.name} fails" for check in services[1:] if check.code), "")
    at_fault = at_fault or ("a table is locked" if now.locks else "")
    return [*services, _check_beat(now, at_fault), _check_workers(now, at_fault)]


def check_kafka(kafka: ProbeResult[KafkaState]) -> ComponentCheck:
    """Judge the result of the Kafka probe."""
    if kafka.value is None:
        text = f"unreachable at {settings.KAFKA.bootstrap_servers}: {kafka.error}"
        return ComponentCheck("Kafka", CheckState.BAD, text, None, ProblemCode.KAFKA_UNAVAILABLE, _failing_since(kafka))
    text = f"answers, {format_count(len(kafka.value.log.ranges), 'partition')}"
    return ComponentCheck("Kafka", CheckState.OK, text, _time_of(kafka))


def check_redis(redis: ProbeResult[RedisState]) -> ComponentCheck:
    """Judge the result of the Redis probe."""
    if redis.value is None:
        text = f"unreachable: {redis.error}"
        return ComponentCheck("Redis", CheckState.BAD, text, None, ProblemCode.REDIS_UNAVAILABLE, _failing_since(redis))
    if redis.value.refusal:
        code = ProblemCode.REDIS_READ_ONLY if redis.value.is_read_only else ProblemCode.REDIS_REFUSES_WRITES
        return ComponentCheck("Redis", CheckState.BAD, f"refuses writes: {redis.value.refusal}", _time_of(redis), code)
    waiting = redis.value.waiting
    state = CheckState.WARNING if waiting > WAITING_TICKS_WARNING else CheckState.OK
    text = f"answers, {format_count(waiting, 'tick waits', 'ticks wait')}"
    return ComponentCheck("Redis", state, text, _time_of(redis))


def _check_database(now: Overview) -> ComponentCheck:
    if now.write_error is None:
        return ComponentCheck("Database", CheckState.OK, "answers", now.at)
    code = ProblemCode.DATABASE_READ_ONLY if now.write_error.is_read_only else ProblemCode.DATABASE_REFUSES_WRITES
    return ComponentCheck("Database", CheckState.BAD, f"refuses writes: {now.write_error.text}", now.at, code)


def database_down(error: str) -> ComponentCheck:
    """Return the check of a database that does not answer."""
    return ComponentCheck("Database", CheckState.BAD, error, code=ProblemCode.DATABASE_UNAVAILABLE)


def database_blocked(error: str) -> ComponentCheck:
    """Return the check of a database that answers, but for a locked table."""
    return ComponentCheck("Database", CheckState.WARNING, f"a table is locked: {error}")


def _check_beat(now: Overview, at_fault: str) -> ComponentCheck:
    """A poll that started proves a tick. A missing tick is beat's fault only where no tick waits in the queue.

    Without Redis or a database that takes writes, no poll can start; `at_fault` names what fails.
    """

    def beat(state: CheckState, text: str, code: ProblemCode | None = None) -> ComponentCheck:
        return ComponentCheck("Beat", state, text, now.last_start, code, now.last_start)

    if not now.schedule.names:
        text = "no schedule for the poll; manage.py create_schedules makes it"
        return beat(CheckState.BAD, text, ProblemCode.NO_SCHEDULE)
    if not now.schedule.is_enabled:
        return beat(CheckState.WARNING, "polling is paused")
    if not now.is_silent:
        return beat(CheckState.OK, "ticks")
    if at_fault:
        return beat(CheckState.UNKNOWN, f"unknown while {at_fault}")
    if now.ticks_wait:
        return beat(CheckState.OK, "its ticks wait in the queue")
    text = "silent: no tick waits and no poll starts" if now.last_start else "no poll yet, and no tick waits"
    return beat(CheckState.BAD, text, ProblemCode.BEAT_SILENT)


def _check_workers(now: Overview, at_fault: str) -> ComponentCheck:
    """A poll that runs or ended proves a worker. A missing poll is the workers' fault only where a tick waits."""
    last_end = now.last_poll.ended_at if now.last_poll else None
    if now.polls:
        processes = format_count(len({poll.worker for poll in now.polls}), "process", "processes")
        text = f"{format_count(len(now.polls), 'poll')} in {processes}"
        return ComponentCheck("Workers", CheckState.OK, text, now.at)
    if not now.is_silent:
        return ComponentCheck("Workers", CheckState.OK, "between two polls", last_end)
    if at_fault:
        return ComponentCheck("Workers", CheckState.UNKNOWN, f"unknown while {at_fault}", last_end)
    if now.schedule.is_enabled and now.ticks_wait:
        text = "no worker takes the waiting ticks"
        return ComponentCheck("Workers", CheckState.BAD, text, last_end, ProblemCode.WORKERS_SILENT, last_end)
    return ComponentCheck("Workers", CheckState.UNKNOWN, "no tick, no poll", last_end)


def _time_of(result: ProbeResult[KafkaState] | ProbeResult[RedisState]) -> datetime:
    return _from_timestamp(result.at)


def _failing_since(result: ProbeResult[KafkaState] | ProbeResult[RedisState]) -> datetime | None:
    return None if result.failing_since is None else _from_timestamp(result.failing_since)


def _from_timestamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.get_current_timezone())
