"""Records whose todo is stored with another content: a client used one Idempotency-Key for two todos."""

from collections.abc import Set as AbstractSet

from django.db import connection
from pydantic_core import to_json

from todos.ingest.parsing import ParsedBatch, dead_letter
from todos.models import DeadLetter

# A todo without a fingerprint was not made by the key, and tells nothing.
FIND = """
    SELECT new.place::int
    FROM ROWS FROM (json_array_elements_text(%s), json_array_elements_text(%s), json_array_elements_text(%s))
        AS new (place, id, fingerprint)
    JOIN todos_todo t ON t.id = new.id::uuid
    WHERE t.fingerprint NOT IN ('', new.fingerprint)
    ORDER BY 1
"""


def find_conflicts(topic: str, batch: ParsedBatch, *, without: AbstractSet[int]) -> list[DeadLetter]:
    """A dead letter for each, discarded from the start: nobody needs to mend it, and its receipt tells.

    Call it in the transaction that has inserted the batch, so that the first of two in one batch wins too. `without`
    are places in the batch that are dead letters already.
    """
    told = [
        (place, todo.id, todo.fingerprint)
        for place, todo in enumerate(batch.todos)
        if todo.fingerprint and place not in without
    ]
    if not told:
        return []
    with connection.cursor() as cursor:
        cursor.execute(FIND, [to_json(column).decode() for column in zip(*told, strict=True)])
        return [_letter(topic, batch, place) for (place,) in cursor.fetchall()]


def _letter(topic: str, batch: ParsedBatch, place: int) -> DeadLetter:
    detail = f"todo {batch.todos[place].id} came first, with another content under the same Idempotency-Key"
    letter = dead_letter(topic, batch.sources[place], DeadLetter.Reason.CONFLICT, detail)
    letter.status = DeadLetter.Status.DISCARDED
    return letter
