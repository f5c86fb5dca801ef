"""Throwaway topics, and polls that always prefetch, as the ingest's own tests have them."""

from tests.integration.todos.ingest.conftest import always_prefetch, make_memory_topic, make_topic

__all__ = ["always_prefetch", "make_memory_topic", "make_topic"]
