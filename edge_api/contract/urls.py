"""The URLs of the API that a client learns from the edge; todos/api/urls.py serves them."""


def todo_urls(api_url: str, todo_id: str, partition: int, offset: int) -> tuple[str, str]:
    """Return the URL of a todo, and that of the receipt which tells the outcome of its record.

    `api_url` ends without a slash, as in https://todo.example/api. One function for both: a batch calls it 1,000 times.
    """
    return f"{api_url}/todos/{todo_id}/", f"{api_url}/receipts/{todo_id}/{partition}-{offset}/"
