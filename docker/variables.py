"""The variables that the programs read."""

from edge_api.settings import EdgeSettings
from edge_api.shared.kafka_settings import KafkaSettings
from todoproject.environment import env

KAFKA = {f"KAFKA_{field.upper()}" for field in KafkaSettings.model_fields}
EDGE = {f"EDGE_{field.upper()}" for field in EdgeSettings.model_fields}
DJANGO = set(env.scheme)
REQUIRED = {name for name in DJANGO if not env.has_default(name)}
# Those of migrate.sh, and OpenTelemetry's own.
OTHERS = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD", "OTEL_")


def unknown(names: set[str], read: set[str]) -> list[str]:
    """Return the names that no program reads."""
    return sorted(name for name in names - read if not name.startswith(OTHERS))
