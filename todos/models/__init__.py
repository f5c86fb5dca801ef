"""The models: todos and owners, how far each partition is stored and who polls it, and records that were not stored."""

from todos.models.clocks import ClockSkew
from todos.models.dead_letters import DeadLetter, DeadLetterEvent, DeadLetterTotal
from todos.models.history import Batch, LogDivergence, OffsetLoss
from todos.models.ledger import UNTIL_REWIND, HaltReason, PartitionLedger, PausedSchedule, Poller, PollRun
from todos.models.owner import ErasedOwner, Owner
from todos.models.todo import Todo

__all__ = [
    "UNTIL_REWIND",
    "Batch",
    "ClockSkew",
    "DeadLetter",
    "DeadLetterEvent",
    "DeadLetterTotal",
    "ErasedOwner",
    "HaltReason",
    "LogDivergence",
    "OffsetLoss",
    "Owner",
    "PartitionLedger",
    "PausedSchedule",
    "PollRun",
    "Poller",
    "Todo",
]
