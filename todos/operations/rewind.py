"""Move the ledger of one partition: back, to read records again, or forward, to skip them."""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from todos.event_log import Log, OffsetRange
from todos.ingest.store import set_transaction_timeouts
from todos.ledger.batch_history import (
    UNKNOWN_WRITER,
    WriterInfo,
    append_batches,
    append_loss,
    broken_chains,
    last_record_columns,
)
from todos.ledger.divergence import agreed_offset
from todos.models import Batch, LogDivergence, OffsetLoss, PartitionLedger


class WouldSkip(Exception):
    """The move would skip offsets that were never stored, which the caller did not allow."""


@dataclass(frozen=True)
class Move:
    """A move of the ledger from `before`, the end of what is stored, to `after`, where the next poll starts.

    Up to `agreed` the log is the one that was stored: up to `before`, unless the log has diverged.
    """

    before: int
    after: int
    agreed: int

    @property
    def reread(self) -> int:
        """The number of offsets that are read again."""
        return max(self.before - self.after, 0)

    @property
    def skipped(self) -> int:
        """The number of offsets that are never stored."""
        return max(self.after - self.agreed, 0)


def find_agreement(log: Log, partition: int, held: OffsetRange) -> int | None:
    """Return up to where the log is the one that was stored; None if it is not known to have diverged.

    `held` are the log's offsets. The log may have changed again since it was seen to have diverged, so it is compared
    as it is now. Raises PartitionLedger.DoesNotExist, LogUnavailable or a DatabaseError.
    """
    where = {"topic": log.topic, "partition": partition}
    divergence = LogDivergence.objects.filter(**where, resolved_at=None).first()
    if divergence is None:
        return None
    if len({PartitionLedger.objects.get(**where).topic_id, log.identity()} - {None}) > 1:
        return 0  # the topic was recreated meanwhile
    if divergence.first_offset <= held.first:
        return divergence.first_offset
    return min(divergence.first_offset, agreed_offset(log, partition, held))


@transaction.atomic(durable=True)
def rewind(
    topic: str,
    partition: int,
    target: int,
    *,
    log_end: int = 0,
    agreed: int | None = None,
    skip: bool = False,
    dry_run: bool = False,
    origin: WriterInfo = UNKNOWN_WRITER,
) -> Move:
    """Revoke the partition's lease, and let the next poll start at the offset `target`.

    Moving back starts a new generation of batches. Moving forward needs `skip`, and records the range as lost. If the
    ledger was edited by hand, the move starts where its batches end; if the log has diverged, where the logs agree.
    It resolves the divergence: an offset before `log_end`, the log's end, may have been used by the other log too.
    `agreed` is where the logs agree now, which may be less than when the divergence was recorded.
    `dry_run` does the same and rolls back.

    Raises WouldSkip, PartitionLedger.DoesNotExist, or a DatabaseError; nothing has changed then.
    """
    set_transaction_timeouts()
    ledger = PartitionLedger.objects.select_for_update().get(topic=topic, partition=partition)
    end, has_chain = _chain_end(ledger)
    divergence = LogDivergence.objects.filter(topic=topic, partition=partition, resolved_at=None).first()
    if divergence and agreed is not None:
        divergence.first_offset = min(divergence.first_offset, agreed)
    move = Move(end, target, min(divergence.first_offset, end) if divergence else end)
    if move.skipped and not skip:
        raise WouldSkip(
            f"{topic}/{partition} is stored up to offset {move.agreed}: moving to {target} would skip"
            f" {move.skipped:,} offsets"
        )
    if move.reread or divergence or not has_chain:
        ledger.generation += 1
        start = min(move.agreed, target)
        append_batches([Batch(topic=topic, partition=partition, generation=ledger.generation, next_offset=start)])
    if divergence:
        divergence.resolved_at, divergence.resumed_at = timezone.now(), target
        divergence.next_offset = max(divergence.next_offset, log_end)
        divergence.save()
    if move.skipped:
        loss = OffsetLoss(topic=topic, partition=partition, first_offset=move.agreed, next_offset=target)
        loss.cause = OffsetLoss.Cause.SKIPPED
        append_loss(loss, ledger.generation, origin)
    PartitionLedger.objects.filter(pk=ledger.pk).update(  # not its totals, to which the move has added
        generation=ledger.generation,
        next_offset=target,
        moved_at=timezone.now(),
        **last_record_columns(None),
        topic_id=None,  # the next poll notes the id of the topic that has this name now
        epoch=ledger.epoch + 1,
        holder=None,
        halt_reason="",
        halt_text="",
        halted_since=None,
        halt_epoch=None,
    )
    transaction.set_rollback(dry_run)
    return move


def _chain_end(ledger: PartitionLedger) -> tuple[int, bool]:
    """Return where the partition's batches end, or the ledger's offset if it has none; and whether it has any."""
    broken = broken_chains(ledger.topic).filter(pk=ledger.pk).first()
    if broken is None:
        return ledger.next_offset, True
    return (ledger.next_offset, False) if broken.chain_end is None else (broken.chain_end, True)
