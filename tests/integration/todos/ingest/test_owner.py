"""Whose a todo is gets from its event to the row, and an owner's list costs the same in a table of any size."""

from collections.abc import Callable

import pytest
from django.db import connection

from tests.support.topic import Topic, event
from todos.models import Todo

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_row_knows_its_owner_and_nobody_owns_what_names_none(make_memory_topic: Callable[..., Topic]) -> None:
    topic = make_memory_topic()
    for owner in ({"owner": "7"}, {}, {"owner": None}, {"owner": "\u5c71 =1"}):
        topic.send(event(**owner))
    assert 4 == topic.poll().stored
    assert ["7", "", "", "\u5c71 =1"] == list(Todo.objects.order_by("source_offset").values_list("owner", flat=True))


@pytest.mark.parametrize(("condition", "index"), [({}, "todo_by_owner"), ({"is_done": True}, "todo_by_owner_done")])
@pytest.mark.parametrize("owner", ["7", "1000"])
def test_an_owners_list_is_read_from_its_index(condition: dict[str, bool], index: str, owner: str) -> None:
    """Also for one who has nearly all todos, but not the newest."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO todos_todo (id, title, description, is_done, created_at, updated_at, source_partition,"
            " source_offset, owner) SELECT gen_random_uuid(), 't', '', n % 3 = 0, now() - n * interval '1 s', now(), 0,"
            " n, CASE WHEN n > 3000 THEN '1000' WHEN n % 2 = 0 THEN '' ELSE (n % 50)::text END"
            " FROM generate_series(1, 30000) n"
        )
        cursor.execute("ANALYZE todos_todo")
    todos = Todo.objects.of_owner(owner).filter(**condition)
    for page in (todos[:50], todos.reverse()[:50]):
        plan = page.explain()
        assert f"using {index} on" in plan or f"Backward using {index} on" in plan
        assert "Sort" not in plan
