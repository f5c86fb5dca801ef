"""Throwaway topics, and polls that always read ahead, as the ingest's own tests have them."""

from tests.integration.todos.ingest.conftest import always_read_ahead, make_topic

__all__ = ["always_read_ahead", "make_topic"]
