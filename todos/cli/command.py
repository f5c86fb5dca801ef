"""The base of all commands."""

from django.core.management.base import BaseCommand


class OperatorCommand(BaseCommand):
    """Skips Django's system checks, which import the whole web side. `migrate` and `make lint` run them."""

    requires_system_checks = ()
