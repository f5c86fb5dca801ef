import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from edge_api.contract.tokens import as_jwk
from todos.cli.arguments import add_examples, duration_between
from todos.cli.command import OperatorCommand
from todos.tokens import keys
from todos.tokens.models import SigningKey

GRACE = timedelta(days=1)
EXAMPLES = """
examples:
  manage.py signing_keys list
  manage.py signing_keys make
  manage.py signing_keys rotate --grace 1d
  manage.py signing_keys retire KID
  manage.py signing_keys export > jwks.json

make creates a key unless one signs already. rotate creates a key that signs at once; tokens of the older keys stay
valid for --grace. retire invalidates a key and all its tokens now; put -- before an older id that starts with a hyphen.
An edge whose EDGE_JWKS is a URL notices within seconds, or while it cannot reach it, when its keys are as old as
EDGE_JWKS_MAX_AGE_SECONDS; an edge that reads a file needs a new export first.

exit code: 0 done; 1 no such key; 2 wrong usage
"""


class Command(OperatorCommand):
    help = "Manage the keys that sign tokens: list, make, rotate, retire, export."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        actions = parser.add_subparsers(dest="action", required=True)
        for action in ("list", "make", "export"):
            actions.add_parser(action)
        rotate = actions.add_parser("rotate")
        rotate.add_argument(
            "--grace", type=duration_between("0s", "365d"), default=GRACE, help="0s, 1d (default) to 365d"
        )
        actions.add_parser("retire").add_argument("kid")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _list(self, **_: Any) -> None:
        now = timezone.now()
        for key in SigningKey.objects.all():
            ends = key.retires_at
            state = (
                "signs" if ends is None else f"{'verifies until' if ends > now else 'retired'} {ends:%Y-%m-%d %H:%M:%S}"
            )
            self.stdout.write(f"{key}  made {key.created_at:%Y-%m-%d %H:%M:%S}  {state}")

    def _make(self, **_: Any) -> None:
        key = keys.make_first()
        self.stdout.write(f"{key} signs from now on" if key else "a key signs already")

    def _rotate(self, *, grace: timedelta, **_: Any) -> None:
        self.stdout.write(f"{keys.rotate(grace)} signs from now on; older keys verify for {grace} at most")

    def _retire(self, *, kid: str, **_: Any) -> None:
        try:
            keys.retire(kid)
        except SigningKey.DoesNotExist:
            raise CommandError(f"there is no key {kid}") from None
        self.stdout.write(f"{kid} is retired; its tokens are invalid now")

    def _export(self, **_: Any) -> None:
        self.stdout.write(json.dumps({"keys": [as_jwk(kid, key) for kid, key in keys.known_keys().items()]}))
