"""An operator moves the ledger of one partition: back, to read again, or forward, to give records up."""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from todos.ingest.store import set_transaction_timeouts
from todos.ledger.batch_history import UNKNOWN_WRITER, WriterInfo, append_batches, append_loss, broken_chains
from todos.models import Batch, OffsetLoss, PartitionLedger


class WouldSkip(Exception):
    """The move would pass over offsets that were never stored, and nobody asked for that."""


@dataclass(frozen=True)
class Move:
    """From the offset up to which the partition is stored, to the one where the next poll begins."""

    before: int
    after: int

    @property
    def again(self) -> int:
        return max(self.before - self.after, 0)

    @property
    def skipped(self) -> int:
        return max(self.after - self.before, 0)


@transaction.atomic(durable=True)
def rewind(
    topic: str,
    partition: int,
    target: int,
    *,
    skip: bool = False,
    dry_run: bool = False,
    origin: WriterInfo = UNKNOWN_WRITER,
) -> Move:
    """Void the lease of whoever reads the partition, and let the next poll begin at `target`.

    Back, a new generation of batches begins; forward, the range becomes a recorded loss. A ledger that was moved by
    hand is measured from where its batches end. A dry run does all of it and rolls back.

    Raises WouldSkip, PartitionLedger.DoesNotExist, or a DatabaseError; either way nothing has happened.
    """
    set_transaction_timeouts()
    ledger = PartitionLedger.objects.select_for_update().get(topic=topic, partition=partition)
    end, has_chain = _chain_end(ledger)
    move = Move(end, target)
    if move.skipped and not skip:
        raise WouldSkip(
            f"{topic}/{partition} is stored up to offset {end}: moving to {target} would skip {move.skipped:,} offsets"
        )
    if move.again or not has_chain:
        ledger.generation += 1
        start = min(end, target)
        append_batches([Batch(topic=topic, partition=partition, generation=ledger.generation, next_offset=start)])
    if move.skipped:
        loss = OffsetLoss(topic=topic, partition=partition, first_offset=end, next_offset=target)
        loss.cause = OffsetLoss.Cause.SKIPPED
        append_loss(loss, ledger.generation, origin)
    ledger.next_offset, ledger.moved_at = target, timezone.now()
    ledger.topic_id = None  # whichever bears the name now: the next poll finds out
    ledger.epoch, ledger.holder, ledger.alarm = ledger.epoch + 1, None, ""
    ledger.save()
    transaction.set_rollback(dry_run)
    return move


def _chain_end(ledger: PartitionLedger) -> tuple[int, bool]:
    """Where the partition's batches end, or its ledger stands when it has none; and whether it has any."""
    broken = broken_chains(ledger.topic).filter(pk=ledger.pk).first()
    if broken is None:
        return ledger.next_offset, True
    return (ledger.next_offset, False) if broken.chain_end is None else (broken.chain_end, True)
