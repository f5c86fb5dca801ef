"""Celery tasks that run the ingest. Schedules and kwargs are in the database; queue and time limits in settings.py."""

import gc
import logging
import multiprocessing
import os
import socket
import sys
import time
from dataclasses import asdict
from typing import Any

from celery import current_task, shared_task
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as DatabaseFailure

from todos.event_log import LogUnavailable
from todos.ingest.consumer import ConsumerRun
from todos.ingest.options import InvalidOptions, PollOptions, TrimOptions
from todos.ingest.tracing import stop_tracing
from todos.kafka.consumer import close_process_log, process_log
from todos.ledger.batch_history import trim
from todos.ledger.poll_runs import PollSummary, trim_runs
from todos.operations.clocks import ClockWatch
from todos.operations.erasure import Erased, finish_interrupted
from todos.operations.remnants import forget_expired
from todos.operations.schedules import POLL_TASK, TRIM_TASK
from todos.operations.ticks import Tick
from todos.time_limit import soft_time_limit

logger = logging.getLogger(__name__)

PAUSE_CHECK_SECONDS = 1.0
SWITCH_SECONDS = 0.0005
GARBAGE_THRESHOLD = 100_000  # objects more than before: those of two batches of 10,000 records
ERASE_SECONDS = 30.0  # of one trim, which shares the worker with the polls

_clock = ClockWatch(f"the worker on {socket.gethostname()}")
# Created before the worker forks, so that its children see it: a long poll must not delay a shutdown.
# Not an Event: if a child is killed while it holds the Event's lock, all others wait for that lock forever.
_stopping = multiprocessing.RawValue("b", 0)


@worker_process_init.connect
def _leave_the_parents_group(**_: Any) -> None:
    """Leave the process group: a SIGTERM to the whole group is for the parent, which lets polls end in order."""
    os.setpgrp()


@worker_process_init.connect
def tune_python(**_: Any) -> None:
    """Spare the collector the objects of the start and of each batch, and switch between threads sooner.

    Neither group of objects holds garbage. The thread that stores otherwise waits up to 5 ms for the one that parses.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)


@worker_shutting_down.connect
def _stop_polling(**_: Any) -> None:
    _stopping.value = 1


class StopCheck:
    """Tells a poll to end: the worker stops, or the schedule of the poll's tick was paused."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick
        self._is_paused, self._next_look = False, 0.0

    def __call__(self) -> bool:
        if not self._is_paused and time.monotonic() >= self._next_look:
            self._is_paused = self._tick.is_outdated(POLL_TASK, has_started=True)
            self._next_look = time.monotonic() + PAUSE_CHECK_SECONDS
        return self._is_paused or bool(_stopping.value)


@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    close_process_log()
    stop_tracing()


@shared_task(name=POLL_TASK)
def poll_todos(**kwargs: Any) -> None:
    """Long-poll the topic and store todos in bulk. kwargs are the fields of PollOptions; invalid ones give defaults.

    A poll whose schedule is paused, or whose tick has expired, ends before it reads.
    """
    task_id, tick = (current_task and current_task.request.id) or "", _current_tick()
    with soft_time_limit(settings.CELERY_TASK_SOFT_TIME_LIMIT):
        if tick.is_outdated(POLL_TASK):
            return
        _clock.measure()
        with process_log() as log:
            summary = ConsumerRun(log, _options(kwargs), worker_name(), task_id, should_stop=StopCheck(tick)).run()
    _log_summary(summary, task_id)


@shared_task(name=TRIM_TASK)
def trim_batches(**kwargs: Any) -> None:
    """Delete old batches and poll runs, and look after erased owners.

    kwargs are the fields of TrimOptions; invalid ones delete nothing.
    """
    with soft_time_limit(settings.CELERY_TASK_SOFT_TIME_LIMIT):
        if _current_tick().is_outdated(TRIM_TASK):
            return
        try:
            options = TrimOptions.parse(kwargs)
        except InvalidOptions as exc:
            logger.error("trim_batches: bad kwargs (%s); nothing is trimmed", exc)  # noqa: TRY400
            return
        batches, runs = trim(options.keep_days), trim_runs(options.keep_days)
        _look_after_erasures()
    if batches or runs:
        logger.info(
            "trim_batches: deleted %d batches and %d polls older than %d days", batches, runs, options.keep_days
        )


def _look_after_erasures() -> None:
    """Finish interrupted erasures, and forget erased owners of which Kafka no longer holds records."""
    erased = Erased()
    try:
        erased = finish_interrupted(ERASE_SECONDS)
    except DatabaseFailure:
        logger.exception("trim_batches: no erasure was finished; the next trim tries again")
    try:
        with process_log() as log:
            forgotten = forget_expired(log)
    except LogUnavailable:
        return  # the next tick asks again
    if erased.todos or forgotten:
        logger.info("trim_batches: erased %d todos, forgot %d erased owners", erased.todos, forgotten)


def _current_tick() -> Tick:
    return Tick.from_headers(current_task.request.headers if current_task else None)


def worker_name() -> str:
    """Return the name of this process to operators: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _options(kwargs: dict[str, Any]) -> PollOptions:
    try:
        return PollOptions.parse(kwargs)
    except InvalidOptions as exc:
        defaults = PollOptions()
        logger.error("poll_todos: bad kwargs (%s); polling with the defaults: %s", exc, defaults)  # noqa: TRY400
        return defaults


def _log_summary(summary: PollSummary, task_id: str) -> None:
    if summary.records or summary.failures or summary.lost:
        # Each poll of an outage fails; its begin and end are logged by the run.
        level = logging.INFO if summary.records or summary.lost else logging.DEBUG
        logger.log(level, "poll_todos: %s", summary, extra=asdict(summary) | {"task_id": task_id})
