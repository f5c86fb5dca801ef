"""Which variables the programs read, as far as their sources tell without being run."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edge_api.settings import EdgeSettings
from edge_api.shared.kafka_settings import KafkaSettings

# Of migrate.sh, and OpenTelemetry's own.
OTHERS = ("DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_EMAIL", "DJANGO_SUPERUSER_PASSWORD", "OTEL_")

EMPTY_BY_DEFAULT = ("read_list", "read_origins", "read_rate")


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


def of_django(settings: Path) -> Variables:
    """Read, not imported: lint runs without Django's services and secrets."""
    read = list(_reads(ast.parse(settings.read_text())))
    return Variables(
        frozenset(name for name, _ in read), frozenset(name for name, has_default in read if not has_default)
    )


def _reads(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Each read("NAME") and read_database("NAME"), and so on, with whether it has a default."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=function), args=[ast.Constant(value=name), *others], keywords=named):
                if function.startswith("read"):
                    yield str(name), function in EMPTY_BY_DEFAULT or bool(others or named)
