import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure
from django.db.models import QuerySet
from rich.console import Console
from rich.progress import track

from todos.cli import dead_letters as output
from todos.cli.arguments import add_examples, integer, moment, positive, whole_number
from todos.cli.command import OperatorCommand
from todos.cli.output import database_error
from todos.dead_letters import service as dead_letters
from todos.dead_letters.service import ActionResult
from todos.event_log import LogUnavailable
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter

ACTOR = "manage.py"
EXAMPLES = """
examples:
  manage.py dead_letters list --status all --since 2h --json
  manage.py dead_letters show 17
  manage.py dead_letters redrive 17 18
  manage.py dead_letters redrive --reason invalid --partition 3 --dry-run
  manage.py dead_letters redrive --all --rate 20 --limit 1000
  manage.py dead_letters discard --since 2026-01-31 --because "test data"

exit code: 0 all done; 1 an action failed or was refused; 2 wrong usage
"""


class Command(OperatorCommand):
    help = "List, show, redrive or discard records that could not become todos."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|redrive|discard")

        def add(name: str, description: str) -> ArgumentParser:
            parser: ArgumentParser = actions.add_parser(name, help=description, description=description)
            add_examples(parser, EXAMPLES)
            return parser

        list_ = add("list", "print one line for each dead letter, the newest first")
        _add_filters(list_, limit=100)
        list_.add_argument("--json", action="store_true", help="a JSON array")
        show = add("show", "print one dead letter: bytes, headers, history")
        show.add_argument("ids", type=integer, nargs=1, metavar="id")
        show.add_argument("--json", action="store_true", help="a JSON object, bytes in base64")
        redrive = add("redrive", "send to Kafka again, with the operator's edits; the oldest first")
        rate = dead_letters.REDRIVES_PER_SECOND
        redrive.add_argument("--rate", type=positive, default=rate, metavar="N", help=f"at most N per second ({rate})")
        discard = add("discard", "mark as discarded, with a reason")
        discard.add_argument("--because", required=True, metavar="TEXT", help="the reason, which the history keeps")
        for action in (redrive, discard):
            action.add_argument("ids", type=integer, nargs="*", metavar="id", help="ids, instead of filters")
            _add_filters(action, limit=None)
            action.add_argument("--all", action="store_true", help="all open dead letters")
            action.add_argument("--dry-run", action="store_true", help="print what would happen, and change nothing")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(**options)
        except DatabaseFailure as exc:
            raise database_error(exc) from exc

    def _list(self, **options: Any) -> None:
        letters = _selected(**options).defer("key", "value", "headers", "edited_value")
        letters = letters.order_by("-pk")[: options["limit"]]
        if options["json"]:
            self.stdout.write(json.dumps([output.summary(letter) for letter in letters], indent=2))
        elif self.stdout.isatty():
            self.stdout.write(output.as_table(letters))
        else:
            for line in output.as_lines(letters):
                self.stdout.write(line)

    def _show(self, *, ids: list[int], **options: Any) -> None:
        letter = DeadLetter.objects.filter(pk=ids[0]).first()
        if letter is None:
            raise CommandError(f"there is no dead letter {ids[0]}")
        self.stdout.write(json.dumps(output.details(letter), indent=2) if options["json"] else output.as_text(letter))

    def _redrive(self, *, rate: float, **options: Any) -> None:
        if options["dry_run"]:
            self._apply("would be redriven", dead_letters.check_redrive, **options)
            return
        with KafkaSender(settings.KAFKA) as sender:
            redrive = partial(dead_letters.redrive, sender=sender, by=ACTOR)
            self._apply("redriven", redrive, pace=partial(dead_letters.paced, per_second=rate), **options)

    def _discard(self, *, because: str, **options: Any) -> None:
        if not because.strip():
            raise CommandError("--because must not be empty", returncode=2)
        if options["dry_run"]:
            self._apply("would be discarded", dead_letters.check_discard, **options)
        else:
            self._apply("discarded", partial(dead_letters.discard, because=because, by=ACTOR), **options)

    def _apply(
        self,
        done: str,
        action: Callable[[int], object],
        *,
        pace: Callable[[Iterable[int]], Iterable[int]] = iter,
        **options: Any,
    ) -> None:
        ids = _ids(**options)
        refusals: list[ActionResult] = []
        count = 0
        bar = partial(track, total=len(ids), description=done, console=Console(stderr=True), transient=True)
        try:
            for outcome in bar(dead_letters.apply_each(action, pace(ids))):
                if outcome.refusal is None:
                    count += 1
                else:
                    refusals.append(outcome)
        except LogUnavailable as exc:
            left = len(ids) - count - len(refusals)
            raise CommandError(f"{count} {done}, {len(refusals)} refused, {left} left as they were. {exc}") from exc
        finally:
            for outcome in refusals:
                self.stderr.write(f"{outcome.letter_id}: {outcome.refusal}")
        self.stdout.write(f"{count} {done}, {len(refusals)} refused")
        if refusals:
            raise CommandError(f"{len(refusals)} of {len(ids)} refused")


def _add_filters(parser: ArgumentParser, *, limit: int | None) -> None:
    parser.add_argument("--status", choices=[*DeadLetter.Status.values, "all"], help="default: open")
    parser.add_argument("--reason", choices=DeadLetter.Reason.values)
    parser.add_argument("--partition", type=integer, metavar="N")
    parser.add_argument("--since", type=moment, metavar="WHEN", help="an ISO date or time (UTC), or 30m, 2h, 7d ago")
    parser.add_argument(
        "--limit", type=whole_number, default=limit, metavar="N", help=f"at most N ({limit or 'no limit'})"
    )


def _ids(*, ids: list[int], limit: int | None, **options: Any) -> list[int]:
    """Return the ids to change, the oldest first: the given ones, or those that the filters select."""
    has_filter = options["all"] or any(options[name] is not None for name in ("status", "reason", "partition", "since"))
    if bool(ids) == bool(has_filter):
        raise CommandError("name ids, or filters, or --all, but not both", returncode=2)
    return (sorted(set(ids)) or list(_selected(**options).order_by("pk").values_list("pk", flat=True)))[:limit]


def _selected(
    *, status: str | None, reason: str | None, partition: int | None, since: datetime | None, **_: Any
) -> QuerySet[DeadLetter]:
    filters = {"reason": reason, "partition": partition, "created_at__gte": since}
    if status != "all":
        filters["status"] = status or DeadLetter.Status.OPEN
    return DeadLetter.objects.filter(**{name: value for name, value in filters.items() if value is not None})
