"""Kafka with SCRAM and TLS: todos go through, and who is not let in is told which variable to look at."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from django.core.management import CommandError, call_command
from django.test import override_settings
from pydantic import SecretStr

from edge_api.shared.kafka_settings import KafkaSettings
from tests.integration.edge_api.conftest import start_edge
from tests.integration.edge_api.support import PROMISE_SECONDS, TODO, EdgeProcess, until
from tests.support.secure_kafka import SecureKafka
from todos.models import Todo

__all__ = ["start_edge"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    service = SecureKafka(tmp_path_factory.mktemp("secure-kafka"))
    try:
        service.start()
        service.add_user()
        yield service
    finally:
        service.stop()


def environ(settings: KafkaSettings) -> dict[str, str]:
    plain = settings.model_dump(exclude={"bootstrap_servers", "topic", "sasl_password"}, exclude_none=True)
    password = settings.sasl_password.get_secret_value() if settings.sasl_password else ""
    return {f"KAFKA_{name.upper()}": str(value) for name, value in plain.items()} | {"KAFKA_SASL_PASSWORD": password}


def test_a_todo_goes_through_from_edge_to_row(kafka: SecureKafka, start_edge: Callable[..., EdgeProcess]) -> None:
    with override_settings(KAFKA=kafka.secure.model_copy(update={"topic": "secure", "group": "secure"})):
        call_command("create_topics", partitions=2, verbosity=0)
        edge = start_edge(kafka.secure_address, "secure", **environ(kafka.secure))
        edge.wait_ready()
        answer = httpx.post(f"{edge.url}/new/", json=TODO)
        assert 202 == answer.status_code
        call_command("poll_todos", timeout_ms=10_000)
    assert [answer.json()["id"]] == [str(todo.pk) for todo in Todo.objects.all()]


@pytest.fixture
def another_authority(tmp_path: Path) -> Path:
    path = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("sasl_password", "KAFKA_SASL_PASSWORD: Kafka"),
        ("sasl_mechanism", "KAFKA_SASL_MECHANISM"),
        ("ssl_cafile", "KAFKA_SSL_CAFILE: does not hold who signed Kafka's certificate"),
    ],
)
def test_who_is_not_let_in_learns_which_variable_is_wrong(
    kafka: SecureKafka,
    start_edge: Callable[..., EdgeProcess],
    another_authority: Path,
    wrong: str,
    named: str,
) -> None:
    values = {
        "sasl_password": SecretStr("wrong"), "sasl_mechanism": "SCRAM-SHA-256", "ssl_cafile": another_authority
    }  # fmt: skip
    refused = kafka.secure.model_copy(update={wrong: values[wrong], "topic": "secure"})

    edge = start_edge(kafka.secure_address, "secure", **environ(refused))
    until(lambda: named in httpx.get(f"{edge.url}/readyz").json()["detail"], 15, f"the edge names {wrong}")
    assert named in edge.log
    begin = time.monotonic()
    answer = httpx.post(f"{edge.url}/new/", json=TODO, timeout=2 * PROMISE_SECONDS)
    assert 503 == answer.status_code
    assert time.monotonic() - begin < PROMISE_SECONDS

    begin = time.monotonic()
    with override_settings(KAFKA=refused), pytest.raises(CommandError, match=named):
        call_command("create_topics")
    assert time.monotonic() - begin < 30
