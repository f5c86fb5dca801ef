"""The web process' entry point: gunicorn todoproject.wsgi."""

import os

from django.core.wsgi import get_wsgi_application

from todoproject.database_deadline import limit_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "todoproject.settings")

limit_statements()
application = get_wsgi_application()
