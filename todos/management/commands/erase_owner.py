import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db import Error as DatabaseFailure

from todos.cli.arguments import add_examples
from todos.cli.command import OperatorCommand
from todos.cli.kafka import quiet_kafka
from todos.cli.output import database_error
from todos.event_log import Retention
from todos.models import ErasedOwner
from todos.operations.erasure import Erased, ErasureRefused, Subject, count, erase
from todos.operations.remnants import current_retention, remembered_until, remnants

EXAMPLES = """
examples:
  manage.py erase_owner olga --dry-run
  manage.py erase_owner olga --delete-user
  manage.py erase_owner --owner 5e1b7a4c-0f0d-4c53-9d0a-6f6f2f6f3a11 --json
  manage.py erase_owner --list --json > erased-owners.json
  manage.py erase_owner --again erased-owners.json

Erases the todos, dead letters, log entries and tokens of one owner, and prints what remains where and until when. The
ingest never stores again what Kafka still holds of them. A user who is not deleted gets a new owner, with no todos.
Interrupted, it is finished by the hourly trim, or by --owner with the id that the message and --list show: the name may
erase what the user has created since. Keep what --list prints outside the database: after a restore from an older
backup, --again erases the same owners again.

exit code: 0 erased, or --dry-run or --list printed; 1 not erased, or not to the end, and the message says why; 2 wrong
usage
"""
RUN_AGAIN = "run it again"


class Command(OperatorCommand):
    help = "Erase everything of one owner, and never store again what Kafka still holds of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("name", nargs="?", help="a user's name")
        whom.add_argument("--owner", metavar="OWNER", help="an owner, as the admin shows it; also one without a user")
        whom.add_argument("--again", type=Path, metavar="FILE", help="the owners in what --list --json printed")
        whom.add_argument("--list", action="store_true", help="print the erased owners, and until when they are kept")
        parser.add_argument("--delete-user", action="store_true", help="delete the user and their sessions too")
        parser.add_argument("--dry-run", action="store_true", help="count what would be erased, and change nothing")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, as_json: bool, delete_user: bool, dry_run: bool, **options: Any) -> None:
        try:
            if options["list"]:
                self._list(as_json=as_json)
                return
            act, reports, next_step = count if dry_run else erase, [], RUN_AGAIN
            for subject, deletes_user in _subjects(**options):
                next_step = _next_step(subject, deletes_user=delete_user) if options["again"] is None else RUN_AGAIN
                erased = act(subject, deletes_user=delete_user or deletes_user)
                reports.append({"ids": sorted(map(str, subject.ids)), **asdict(erased)})
                if not as_json:
                    self.stdout.write(_as_text(subject, erased, dry_run=dry_run))
        except ErasureRefused as exc:
            raise CommandError(f"not erased: {exc}") from exc
        except DatabaseFailure as exc:
            raise CommandError(f"{database_error(exc)}; {RUN_AGAIN if dry_run else next_step}") from exc
        with quiet_kafka():
            left = remnants()
        if as_json:
            report = {"dry_run": dry_run, "owners": reports, "remains": [remnant._asdict() for remnant in left]}
            self.stdout.write(json.dumps(report, indent=2))
            return
        for remnant in left:
            self.stdout.write(f"remains in {remnant.where}: {remnant.what}. Until {remnant.until}.")

    def _list(self, *, as_json: bool) -> None:
        with quiet_kafka():
            retention = current_retention()
        rows = [_row(owner, retention) for owner in ErasedOwner.objects.all()]
        if as_json:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for row in rows:
            self.stdout.write("\t".join(f"{name}={value}" for name, value in row.items()))


def _subjects(*, name: str | None, owner: str | None, again: Path | None, **_: Any) -> list[tuple[Subject, bool]]:
    """Return the owners to erase, and for each whether to delete the user. Raises CommandError or ErasureRefused."""
    if again is not None:
        return [(Subject.of_owner(str(id_)), deletes_user) for id_, deletes_user in _listed(again)]
    if name is None:
        return [(Subject.of_owner(owner or ""), False)]
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"there is no user {name}; --owner erases an owner without a user")
    return [(Subject.of_user(user), False)]


def _next_step(subject: Subject, *, deletes_user: bool) -> str:
    """Say how to finish. The user's name would erase what they have created since a trim has finished it."""
    id_ = min(subject.ids, key=lambda id_: UUID(id_).version == 5)  # a hash does not lead to the user
    options = " --delete-user" if deletes_user else ""
    return f"a trim finishes it within the hour, or erase_owner --owner {id_}{options}"


def _listed(path: Path) -> list[tuple[UUID, bool]]:
    try:
        rows: list[dict[str, Any]] = [*json.loads(path.read_text())]
        return [(UUID(row["owner"]), row["deletes_user"] is True) for row in rows]
    except OSError as exc:
        raise CommandError(f"--again: {path}: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CommandError(f"--again: {path} is not what erase_owner --list --json printed") from None


def _row(owner: ErasedOwner, retention: Retention | None) -> dict[str, Any]:
    until = remembered_until(owner.erased_at, retention) if retention else None
    return {
        "owner": str(owner.id),
        "erased_at": owner.erased_at.isoformat(timespec="seconds"),
        "finished": owner.finished_at is not None,
        "deletes_user": owner.deletes_user,
        "kept_until": until.isoformat(timespec="seconds") if until else None,
    }


def _as_text(subject: Subject, erased: Erased, *, dry_run: bool) -> str:
    whom = subject.user.get_username() if subject.user else ", ".join(sorted(subject.owners))
    verb = "would be erased; nothing was changed" if dry_run else "were erased"
    return (
        f"{whom}: {erased.todos:,} todos, {erased.dead_letters:,} dead letters, {erased.log_entries:,} entries of the"
        f" admin's log, {erased.refresh_tokens:,} refresh tokens, {erased.sessions:,} sessions and"
        f" {erased.users:,} users {verb}."
    )
