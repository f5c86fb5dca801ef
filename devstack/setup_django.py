"""Schema, topic, schedules and the admin user; safe to repeat. One process, because Django takes a second to start."""

import os
import sys

import django
from django.core.management import call_command

# Exit code: all is set up, but the admin does not have the password of DJANGO_SUPERUSER_PASSWORD.
PASSWORD_IS_ANOTHER = 10


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")
    django.setup()
    from django.contrib.auth import get_user_model  # needs the set-up

    for command in (["migrate"], ["signing_keys", "make"], ["create_schedules"]):
        call_command(*command)
    users = get_user_model().objects
    password = os.environ.get("DJANGO_SUPERUSER_PASSWORD", "")
    admin = users.filter(username="admin").first()
    if admin is None:
        if not password:
            sys.exit("DJANGO_SUPERUSER_PASSWORD: required to create the user admin")
        admin = users.create_superuser("admin", password=password)
    sys.stdin.read()  # it ends when Kafka is ready
    call_command("create_topics")
    if not admin.check_password(password):
        sys.exit(PASSWORD_IS_ANOTHER)


if __name__ == "__main__":
    main()
