"""The API's URLs that a client learns from the edge: of a todo, and of the receipt of one request."""


def todo_url(api_url: str, todo_id: str) -> str:
    """Return where the todo can be read once it is stored; `api_url` ends without a slash, as in https://host/api."""
    return f"{api_url}/todos/{todo_id}/"


def receipt_url(api_url: str, todo_id: str, partition: int, offset: int) -> str:
    """Return where the outcome of a request can be read, once known: its record is at `offset` of `partition`."""
    return f"{api_url}/receipts/{todo_id}/{partition}-{offset}/"
