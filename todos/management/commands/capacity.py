import json
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from todos.capacity import costs
from todos.capacity.plan import Wanted, plan
from todos.cli.arguments import add_examples, positive, whole_number
from todos.management.commands import _capacity as output

DEFAULTS = Wanted(0)
EXAMPLES = """
examples:
  manage.py capacity --todos-per-second 5000
  manage.py capacity --todos-per-second 1000000 --batch --retention-hours 24 --keep-days 7
  manage.py capacity --todos-per-second 20000 --json | jq .needs

Nothing is asked of Kafka or the database. The costs of a todo are those that make bench-scaling measured, on that
machine: measure on yours. What it can and cannot tell is in docs/scaling.md.

exit code: 0 done; 1 there are no costs, or the file lacks some; 2 wrong usage

--json: results, measured, machine, wanted; needs: objects with name, amount, unit and how; limits: objects with at
(todos a second), name and then, the lowest first.
"""


class Command(BaseCommand):
    help = "What a rate of todos needs: processes, partitions, connections, disk; and what breaks first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("--todos-per-second", type=positive, required=True, metavar="N")
        parser.add_argument("--batch", action="store_true", help="through POST /new/batch/ (default: one by one)")
        for name, kind, text in (
            ("retention_hours", positive, "Kafka keeps records for so long"),
            ("keep_days", positive, "PostgreSQL keeps todos for so long"),
            ("replication", whole_number, "copies of each record, on as many brokers"),
            ("utilisation", _share, "how busy a process or core may be, above 0 and at most 1"),
            ("primary_cores", whole_number, "of one PostgreSQL primary"),
            ("primary_disk", positive, "MB/s that one primary can write"),
        ):
            default = getattr(DEFAULTS, name)
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=kind, default=default, metavar="N", help=f"{text} (default: {default:g})")
        parser.add_argument("--results", type=Path, metavar="FILE", help="default: the newest of benchmarks/results")
        parser.add_argument("--json", action="store_true", dest="as_json", help="for scripts; the keys are below")

    def handle(self, *args: Any, results: Path | None, as_json: bool, **options: Any) -> None:
        wanted = Wanted(**{name: options[name] for name in Wanted._fields})
        try:
            found = costs.read(results) if results else costs.newest(settings.BASE_DIR / "benchmarks" / "results")
        except costs.NoCosts as exc:
            raise CommandError(str(exc)) from exc
        answer = found, wanted, plan(found.costs, wanted)
        self.stdout.write(json.dumps(output.as_json(*answer), indent=2) if as_json else output.as_text(*answer))


def _share(text: str) -> float:
    if (value := positive(text)) > 1:
        raise ArgumentTypeError("must be above 0 and at most 1")
    return value
