"""The web process' entry point: gunicorn todoproject.wsgi."""

import os

from django.core.wsgi import get_wsgi_application

from todoproject.database_deadline import limit_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

limit_statements()
django = get_wsgi_application()

from todoproject.charset import utf8_only  # noqa: E402 - Django has to be set up

application = utf8_only(django)
