"""What an erasure of an owner does not reach, and until when; and for how long the owner has to be remembered."""

from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from todos.bounds import LONGEST_TOKEN_DAYS
from todos.event_log import Log, LogUnavailable, Retention
from todos.kafka.admin import KafkaAdmin
from todos.models import ErasedOwner

LONGEST_TOKEN = timedelta(days=LONGEST_TOKEN_DAYS)
MARGIN = timedelta(days=1)  # for how often Kafka looks for what to delete, and for clocks that differ


class Remnant(NamedTuple):
    """What is left of an owner after the erasure, and until when."""

    where: str
    what: str
    until: str


def remnants() -> list[Remnant]:
    """List what is left of an owner who is erased now. Some times are unknown while Kafka does not answer."""
    now, retention = timezone.now(), current_retention()
    kafka = _shown(retention and kept_by_kafka(now, retention), retention)
    memory = _shown(retention and remembered_until(now, retention), retention)
    tokens = f"they expire: 10 minutes after a sign-in, {LONGEST_TOKEN_DAYS} days at most from create_token"
    return [
        Remnant(
            f"Kafka, topic {settings.KAFKA.topic}", "records that were sent before; they are never stored again", kafka
        ),
        Remnant("edge", "accepts tokens that were signed before; todos sent with them are not stored", tokens),
        Remnant("PostgreSQL, erased owners", "the random id or a hash of the owner, and the time", memory),
        Remnant("PostgreSQL, users", "the account, unless it was deleted too", "you delete it"),
        Remnant(
            "PostgreSQL, disk", "deleted rows, also in archived write-ahead logs", "VACUUM; you delete the archive"
        ),
        Remnant("PostgreSQL, dead letters", "damaged bytes in which no owner can be read", "you delete them"),
        Remnant("backups", "everything; after a restore run erase_owner --again", "you delete them"),
        Remnant("files", "what was exported, imported or rejected", "you delete them"),
        Remnant("logs and traces", "ids of requests and todos, and addresses", "you delete them"),
        Remnant("Redis", "the rate limit of the owner, without content", "seconds after the last request"),
    ]


def kept_by_kafka(since: datetime, retention: Retention) -> datetime | None:
    """Return when Kafka has certainly deleted a record of that time; None if it never deletes one for its age."""
    if retention.seconds is None or retention.segment_seconds is None:
        return None
    return since + timedelta(seconds=retention.seconds + retention.segment_seconds) + MARGIN


def remembered_until(erased_at: datetime, retention: Retention) -> datetime | None:
    """Return when Kafka certainly holds nothing of an owner any more; None for never. Their last token counts too."""
    return kept_by_kafka(erased_at + LONGEST_TOKEN, retention)


def forget_expired(log: Log) -> int:
    """Forget erased owners of which Kafka no longer holds records, and return how many.

    Asks Kafka only if there may be some. Raises LogUnavailable or a DatabaseError.
    """
    now = timezone.now()
    old = ErasedOwner.objects.filter(finished_at__isnull=False, erased_at__lt=now - LONGEST_TOKEN)
    if not (erased_at := dict(old.values_list("id", "erased_at"))):
        return 0
    retention = log.retention()
    expired = [id_ for id_, at in erased_at.items() if (until := remembered_until(at, retention)) and until < now]
    return old.filter(id__in=expired).delete()[0]


def current_retention() -> Retention | None:
    """Ask Kafka how long it keeps the topic's records; None while it does not answer."""
    with closing(KafkaAdmin(settings.KAFKA)) as kafka, suppress(LogUnavailable):
        return kafka.retention()
    return None


def _shown(until: datetime | None, retention: Retention | None) -> str:
    if retention is None:
        return "unknown: Kafka does not answer"
    return f"{until:%Y-%m-%d %H:%M} UTC" if until else "for ever: Kafka deletes no record of the topic for its age"
