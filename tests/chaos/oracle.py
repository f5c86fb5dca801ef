"""The reconciliation: what clients were promised, against what there is.

The one place to join in further witnesses is CHECKS at the end.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.chaos.evidence import Evidence
from tests.chaos.journal import Position

# --- Each check yields one line per offender.


def _acknowledged_but_lost(it: Evidence) -> Iterator[str]:
    for todo in it.journal.accepted.values():
        if not it.places[todo.id] and not _is_recorded_loss(it, (todo.partition, todo.offset)):
            yield f"{todo.id}, acknowledged at {todo.partition}/{todo.offset}"


def _is_recorded_loss(it: Evidence, position: Position) -> bool:
    """Only what a log had that Kafka came back without may be one."""
    partition, offset = position
    return any(partition == lost and first <= offset < end for lost, first, end in it.losses)


def _stored_twice(it: Evidence) -> Iterator[str]:
    yield from (f"{todo_id} stands in {count} places" for todo_id, count in it.places.items() if count > 1)
    positions = Counter(row.position for row in it.rows) + Counter(it.letters) + Counter(it.conflicts)
    for position, count in positions.items():
        if count > max(len(it.ids_at.get(position, ())), 1):
            yield f"{count} outcomes of position {position}"
    titles = Counter(row.title for row in it.rows)
    yield from (f"{count} rows of one POST: {title}" for title, count in titles.items() if count > 1)


def _record_without_outcome(it: Evidence) -> Iterator[str]:
    letters = set(it.letters)
    for record in it.all_records:
        if record.id in it.row_ids or record.position in letters or _is_recorded_loss(it, record.position):
            continue
        yield f"{record.position}: {record.id or 'poison'}"


def _unknown_row(it: Evidence) -> Iterator[str]:
    """Each row is a record's todo, and one that somebody sent."""
    sent = {todo.title for todo in it.journal.accepted.values()} | it.journal.unconfirmed.keys()
    for row in it.rows:
        if row.id not in it.ids_at.get(row.position, ()) or row.title not in sent:
            yield f"{row.id} from {row.position}: {row.title}"


def _dead_letter_of_no_poison(it: Evidence) -> Iterator[str]:
    for position in it.letters:
        if None not in it.ids_at.get(position, ()):
            yield f"{position}: {it.ids_at.get(position)}"


def _wrong_conflict(it: Evidence) -> Iterator[str]:
    """Those records, and no others, whose todo is stored with another fingerprint."""
    stored = {row.id: row.fingerprint for row in it.rows}
    expected = {
        record.position
        for record in it.all_records
        if record.fingerprint and stored.get(record.id or "") not in (None, "", record.fingerprint)
    }
    yield from (f"{position} is one" for position in expected - set(it.conflicts))
    yield from (f"{position} is none" for position in set(it.conflicts) - expected)


def _acknowledged_position_holds_another(it: Evidence) -> Iterator[str]:
    for todo in it.journal.accepted.values():
        if todo.offset >= 0 and todo.id not in it.ids_at.get((todo.partition, todo.offset), ()):
            yield f"{todo.id} is not at {todo.partition}/{todo.offset}"


def _ledger_behind_or_ahead(it: Evidence) -> Iterator[str]:
    for partition, end in it.ends.items():
        if it.ledger.get(partition) != end:
            yield f"partition {partition}: ledger {it.ledger.get(partition)}, topic {end}"
    replaced = {record.position for record in it.journal.replaced}
    for partition, first, end in it.losses:
        if not {(partition, offset) for offset in range(first, end)} <= replaced:
            yield f"partition {partition}: recorded as lost from {first} to {end}"


def _gap_or_overlap_of_moves(it: Evidence) -> Iterator[str]:
    for partition, moves in it.moves.items():
        expected = 0
        for old, new, is_rewind in moves:
            if old != expected or (new <= old and not (is_rewind and it.journal.replaced)):
                yield f"partition {partition}: from {old} to {new}, expected from {expected}"
            expected = new
        if expected != it.ends[partition]:
            yield f"partition {partition}: the moves end at {expected}, the topic at {it.ends[partition]}"


def _hole_in_the_topic(it: Evidence) -> Iterator[str]:
    present = {record.position for record in it.records}
    for partition, end in it.ends.items():
        missing = [offset for offset in range(end) if (partition, offset) not in present]
        if len(missing) > it.journal.markers[partition]:
            yield f"partition {partition}: {len(missing)} records, the first at {missing[0]}"


def _refused(it: Evidence) -> Iterator[str]:
    yield from it.journal.refused


def _wrong_receipt(it: Evidence) -> Iterator[str]:
    yield from it.receipts


def _audit_disagrees(it: Evidence) -> Iterator[str]:
    yield from it.audit


CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "acknowledged, but lost": _acknowledged_but_lost,
    "stored twice": _stored_twice,
    "record with no outcome": _record_without_outcome,
    "row that nobody sent": _unknown_row,
    "dead letter of a good record": _dead_letter_of_no_poison,
    "conflict not told, or told wrongly": _wrong_conflict,
    "acknowledged position holds another record": _acknowledged_position_holds_another,
    "ledger is not at the topic's end": _ledger_behind_or_ahead,
    "gap or overlap in the ledger's moves": _gap_or_overlap_of_moves,
    "hole in the topic": _hole_in_the_topic,
    "valid todo refused": _refused,
    "receipt of a stored todo says something else": _wrong_receipt,
    "manage.py audit proves less": _audit_disagrees,
}


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """The offenders of each check that has any."""
    found = {name: list(check(evidence)) for name, check in CHECKS.items()}
    return {name: offenders for name, offenders in found.items() if offenders}
