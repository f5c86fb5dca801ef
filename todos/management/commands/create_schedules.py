from typing import Any

from django.core.management.base import BaseCommand

from todos.schedules import POLL_SCHEDULE, create_default_schedules


class Command(BaseCommand):
    help = "Create the default polling schedule where it is missing. What operators edited stays as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        created = create_default_schedules()
        self.stdout.write(f"schedule '{POLL_SCHEDULE}' {'created' if created else 'is there, left as it is'}")
