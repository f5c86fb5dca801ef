"""Polls that always read ahead."""

import pytest


@pytest.fixture(autouse=True)
def always_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ahead however small a batch is, so that whatever goes wrong finds something that was read ahead."""
    monkeypatch.setattr("todos.ingest.prefetch.WORTH_READING_AHEAD", 1)
