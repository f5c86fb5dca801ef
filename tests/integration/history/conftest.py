"""Throwaway topics, as the ingest's own tests have them."""

from tests.integration.ingest.conftest import make_topic

__all__ = ["make_topic"]
