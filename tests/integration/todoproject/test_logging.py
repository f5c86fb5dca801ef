import logging


def test_ticks_that_expired_are_no_news() -> None:
    """celery.worker.request says "Discarding revoked task" of each, at INFO."""
    assert not logging.getLogger("celery.worker.request").isEnabledFor(logging.INFO)
    assert logging.getLogger("celery.worker.request").isEnabledFor(logging.ERROR)
