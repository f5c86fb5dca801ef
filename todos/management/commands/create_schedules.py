from typing import Any

from django.core.management.base import BaseCommand

from todos.schedules import create_default_schedules


class Command(BaseCommand):
    help = "Create the default schedules where they are missing. What operators edited stays as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        for name, created in create_default_schedules().items():
            self.stdout.write(f"schedule '{name}' {'created' if created else 'is there, left as it is'}")
