"""Schema, topic, schedules and the admin user; safe to repeat. One process, because Django takes a second to start."""

import os

import django
from django.core.management import call_command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")
    django.setup()
    from django.contrib.auth import get_user_model  # needs the set-up

    for command in ("migrate", "create_topics", "create_schedules"):
        call_command(command)
    users = get_user_model().objects
    if not users.filter(username="admin").exists():
        users.create_superuser("admin", password=os.environ["DJANGO_SUPERUSER_PASSWORD"])


if __name__ == "__main__":
    main()
