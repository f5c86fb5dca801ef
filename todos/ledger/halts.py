"""Halt partitions: a halt is a state of the ledger, with its reason, until the cause is gone.

A halt ends in the transaction that advances the partition, and those of UNTIL_REWIND only by a rewind.
"""

from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Now

from todos.ledger.leases import Lease
from todos.models import UNTIL_REWIND, HaltReason, PartitionLedger


def halt_partition(topic: str, partition: int, lease: Lease, reason: HaltReason, text: str) -> bool:
    """Halt a partition whose ledger is where `lease` says. `text` tells operators why, and what to do.

    Returns False, and changes nothing, if the partition has advanced or was leased again: a late poll of an earlier
    holder knows nothing about it. So it does if another session has locked the row: then nobody can lease it, and who
    leases it later finds the same cause. The same halt keeps its time. Raises a DatabaseError.
    """
    ledger = PartitionLedger.objects.filter(
        topic=topic, partition=partition, epoch=lease.epoch, next_offset=lease.next_offset
    )
    if reason not in UNTIL_REWIND:
        ledger = ledger.exclude(halt_reason__in=UNTIL_REWIND)
    since = Case(When(halt_reason=reason, halted_since__isnull=False, then=F("halted_since")), default=Now())
    with transaction.atomic():
        free = PartitionLedger.objects.filter(pk__in=ledger.select_for_update(skip_locked=True).values("pk"))
        return bool(free.update(halt_reason=reason, halt_text=text, halted_since=since, halt_epoch=lease.epoch))


def halted_until_rewind(topic: str) -> set[int]:
    """Return the partitions that no poll may read before an operator rewinds them."""
    ledgers = PartitionLedger.objects.filter(topic=topic, halt_reason__in=UNTIL_REWIND)
    return set(ledgers.values_list("partition", flat=True))
