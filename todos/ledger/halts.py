"""Halt partitions: a halt is a state of the ledger, with its reason, until the cause is gone.

A halt ends in the transaction that advances the partition, and those of UNTIL_REWIND only by a rewind.
"""

from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Now

from todos.event_log import OffsetRange
from todos.ledger.leases import Lease
from todos.models import UNTIL_REWIND, HaltReason, LogDivergence, PartitionLedger


@transaction.atomic
def halt_partition(
    topic: str, partition: int, lease: Lease, reason: HaltReason, text: str, diverged: OffsetRange | None = None
) -> bool:
    """Halt a partition whose ledger is where `lease` says. `text` tells operators why, and what to do.

    If the log is another one, `diverged` is the range in which an offset may mean a record of either log, and is
    recorded. The same halt keeps its time.

    Returns False, and changes nothing, if the partition has advanced or was leased again: a late poll of an earlier
    holder knows nothing about it. It returns False too if another session has locked the row. A locked row cannot be
    leased; the next holder finds the same cause. Raises a DatabaseError.
    """
    ledger = PartitionLedger.objects.filter(
        topic=topic, partition=partition, epoch=lease.epoch, next_offset=lease.next_offset
    )
    if reason not in UNTIL_REWIND:
        ledger = ledger.exclude(halt_reason__in=UNTIL_REWIND)
    since = Case(When(halt_reason=reason, halted_since__isnull=False, then=F("halted_since")), default=Now())
    free = PartitionLedger.objects.filter(pk__in=ledger.select_for_update(skip_locked=True).values("pk"))
    if not free.update(halt_reason=reason, halt_text=text, halted_since=since, halt_epoch=lease.epoch):
        return False
    if diverged is not None:
        divergence = LogDivergence(
            topic=topic,
            partition=partition,
            generation=PartitionLedger.objects.get(topic=topic, partition=partition).generation,
            first_offset=diverged.first,
            next_offset=diverged.end,
            detail=text,
        )
        LogDivergence.objects.bulk_create([divergence], ignore_conflicts=True)  # one that is unresolved is enough
    return True
