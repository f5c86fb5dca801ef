"""A renamed internal of gunicorn is noticed, said in one warning, and done without."""

import pytest
from gunicorn.workers import gthread

from todoproject.web_worker import choose_worker


def test_the_pinned_gunicorn_runs_the_own_worker() -> None:
    assert "todoproject.web_worker.PollingThreadWorker" == choose_worker()


@pytest.mark.parametrize(
    ("owner", "name"),
    [(gthread.TConn, "wait_for_data"), (gthread.ThreadWorker, "murder_pending"), (gthread, "_DEFER")],
)
def test_without_an_internal_gunicorns_own_worker_runs(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(owner, name)

    assert "gthread" == choose_worker()
    assert [name in message for message in caplog.messages] == [True]
