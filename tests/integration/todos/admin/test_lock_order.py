"""The admin's actions lock todos in the order in which the API and the ingest do."""

import pytest
from django.db import connection
from django.test import Client

from tests.support.sessions import open_transaction, waiting_sessions
from tests.support.threads import in_thread
from tests.support.todos import make_todos
from tests.support.waiting import eventually
from todos.models import Todo

LOCK_TODO = "SELECT FROM todos_todo WHERE id = %s FOR UPDATE"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", ["mark_done", "delete_selected"])
def test_an_action_does_not_deadlock_with_a_bulk_request(admin_client: Client, action: str) -> None:
    low, high = make_todos(2)
    Todo.objects.filter(pk=low.pk).update(title="now it follows the other one on disk")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE todos_todo")  # a table this small is read in the order on disk
    form = {"action": action, "_selected_action": [low.pk, high.pk], "post": "yes"}

    with open_transaction() as session:
        session.execute(LOCK_TODO, [low.pk])
        thread = in_thread(lambda: admin_client.post("/admin/todos/todo/", form))
        eventually(lambda: waiting_sessions() == 1, seconds=20, what="the action to wait")
        session.execute(LOCK_TODO, [high.pk])  # a deadlock, if the action had locked it
    thread.join()

    assert not Todo.objects.filter(is_done=False).exists()
