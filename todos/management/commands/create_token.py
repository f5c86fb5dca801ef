from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from edge_api.contract.tokens import SCOPES
from todos.bounds import LONGEST_TOKEN_DAYS
from todos.cli.arguments import add_examples, duration_between
from todos.cli.command import OperatorCommand
from todos.tokens.issue import access_token
from todos.tokens.keys import NoSigningKey

EXAMPLES = """
examples:
  manage.py create_token olga
  manage.py create_token billing --service --scope write --lifetime 30d

The token goes to standard output. A single token cannot be revoked. It expires with its lifetime or with the key that
signed it (signing_keys rotate, retire). The API, but not the edge, also rejects it once the password of its user has
changed, or the account is inactive or deleted.

exit code: 0 written; 1 no such user, or no key; 2 wrong usage
"""


class Command(OperatorCommand):
    help = "Sign an access token for a user or a service."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_examples(parser, EXAMPLES)
        parser.add_argument("username", type=_username)
        parser.add_argument(
            "--service", action="store_true", help="create the account, without a password, if there is none"
        )
        parser.add_argument("--scope", nargs="+", choices=SCOPES, default=list(SCOPES), help="default: both")
        lifetime, hour = duration_between("1s", f"{LONGEST_TOKEN_DAYS}d"), timedelta(hours=1)
        parser.add_argument(
            "--lifetime", type=lifetime, default=hour, help=f"1s, 1h (default) to {LONGEST_TOKEN_DAYS}d"
        )

    @transaction.atomic  # creates no account if there is no key
    def handle(self, *args: Any, username: str, service: bool, **options: Any) -> None:
        if service and not User.objects.filter(username=username).exists():
            User.objects.create_user(username)  # without a password, it cannot be used to sign in
        user = User.objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(f"there is no active user {username}; --service creates one")
        try:
            self.stdout.write(access_token(user, options["scope"], options["lifetime"]))
        except NoSigningKey as exc:
            raise CommandError(str(exc)) from exc


def _username(text: str) -> str:
    """Validate the name as the admin does."""
    try:
        return str(User._meta.get_field("username").clean(User.normalize_username(text), None))
    except ValidationError as exc:
        raise ArgumentTypeError(" ".join(exc.messages)) from None
