"""Kafka with SCRAM and TLS: todos go through, and who is not let in is told which variable to look at."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from django.core.management import CommandError, call_command
from django.test import override_settings
from pydantic import SecretStr

from edge_api.shared.kafka_settings import KafkaSettings
from tests.support.edge import HANG_SECONDS, PROMISE_SECONDS, TODO, EdgeProcess
from tests.support.secure_kafka import SecureKafka
from tests.support.waiting import Stopwatch, eventually
from todos.models import Todo

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
    ready = f"{edge.url}/readyz"
    eventually(lambda: named in httpx.get(ready).json()["detail"], seconds=15, what=f"the edge to name {wrong}")
    assert named in edge.log
    watch = Stopwatch()
    answer = httpx.post(f"{edge.url}/new/", json=TODO, timeout=HANG_SECONDS)
    assert 503 == answer.status_code
    assert watch.seconds < PROMISE_SECONDS

    watch = Stopwatch()
    with override_settings(KAFKA=refused), pytest.raises(CommandError, match=named):
        call_command("create_topics")
    assert watch.seconds < 30
