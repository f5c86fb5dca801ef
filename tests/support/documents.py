"""Tell schemathesis what the two OpenAPI documents cannot say."""

import json
from typing import Any
from uuid import UUID

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import CheckFunction, negative_data_rejection, positive_data_acceptance

from tests.support.todos import START
from todos.selectors import PageCursor

# No schema says which ETags are stale, how many bytes a body has, or that wrong passwords are counted.
NOT_IN_SCHEMA: dict[int, list[CheckFunction]] = {
    412: [positive_data_acceptance],
    413: [positive_data_acceptance, negative_data_rejection],
    429: [positive_data_acceptance, negative_data_rejection],
}


def unfit_checks(case: Case[Any], status: int) -> list[CheckFunction]:
    if case.path == "/new/batch/":  # it may hold what its schema forbids: such a todo is rejected alone
        return [negative_data_rejection, *NOT_IN_SCHEMA.get(status, [])]
    return NOT_IN_SCHEMA.get(status, [])


cursors = st.builds(PageCursor, st.just(START), st.integers(0, 20).map(lambda number: UUID(int=number)), st.booleans())
schemathesis.openapi.format("cursor", cursors.map(PageCursor.encode))


@schemathesis.serializer("application/x-ndjson")
def as_lines(_ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Write the array of the document as lines; an example is sent as it is."""
    if isinstance(value, str):
        return value.encode()
    return "\n".join(json.dumps(item) for item in (value if isinstance(value, list) else [value])).encode()
