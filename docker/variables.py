"""The variables that the programs read."""

from typing import NamedTuple

from edge_api.settings import EdgeSettings
from edge_api.shared.kafka_settings import KafkaSettings
from todoproject.environment import env

# Of migrate.sh, and OpenTelemetry's own.
OTHERS = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD", "OTEL_")


class Variables(NamedTuple):
    known: frozenset[str]
    required: frozenset[str]

    def strangers(self, names: set[str]) -> list[str]:
        return sorted(name for name in names - self.known if not name.startswith(OTHERS))


def of_kafka() -> Variables:
    return Variables(frozenset(f"KAFKA_{field.upper()}" for field in KafkaSettings.model_fields), frozenset())


def of_edge() -> Variables:
    """What it requires depends on other values: `edge_api.settings.load_settings` knows."""
    return Variables(frozenset(f"EDGE_{field.upper()}" for field in EdgeSettings.model_fields), frozenset())


def of_django() -> Variables:
    return Variables(frozenset(env.scheme), frozenset(name for name in env.scheme if not env.has_default(name)))
