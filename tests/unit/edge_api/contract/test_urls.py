"""Django serves the URLs that the edge tells its clients."""

import uuid
from urllib.parse import urlsplit

from django.urls import resolve

from edge_api.contract.urls import todo_urls


def test_django_knows_both_urls() -> None:
    todo_id = uuid.uuid4()
    todo, receipt = (
        resolve(urlsplit(url).path) for url in todo_urls("https://todo.example/api", str(todo_id), 2, 1234)
    )
    assert ("todo-detail", str(todo_id)) == (todo.url_name, str(todo.kwargs["pk"]))
    assert ("receipt", {"todo_id": todo_id, "partition": 2, "offset": 1234}) == (receipt.url_name, receipt.kwargs)
