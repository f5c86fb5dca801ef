#!/bin/sh
# Brings database, keys, topic and schedules up to date; every step may run again and again.
set -eu
python manage.py migrate --noinput
python manage.py signing_keys make
python manage.py create_topics
python manage.py create_schedules
# A first administrator, only where DJANGO_SUPERUSER_{USERNAME,EMAIL,PASSWORD} are set and none exists yet.
if [ -n "${DJANGO_SUPERUSER_PASSWORD:-}" ]; then
    python manage.py shell --verbosity 0 --command '
from django.contrib.auth import get_user_model
raise SystemExit(not get_user_model().objects.filter(is_superuser=True).exists())
' || python manage.py createsuperuser --noinput
fi
