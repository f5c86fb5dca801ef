"""The models: todos, how far each partition is stored and who polls it, and records that could not be stored."""

from todos.models.dead_letters import DeadLetter, DeadLetterEvent
from todos.models.history import Batch, OffsetLoss
from todos.models.ledger import UNTIL_REWIND, HaltReason, PartitionLedger, PausedSchedule, Poller, PollRun
from todos.models.todo import Todo

__all__ = [
    "UNTIL_REWIND",
    "Batch",
    "DeadLetter",
    "DeadLetterEvent",
    "HaltReason",
    "OffsetLoss",
    "PartitionLedger",
    "PausedSchedule",
    "PollRun",
    "Poller",
    "Todo",
]
