"""Django's settings, and the only place on this side that reads the environment.

Every variable is listed in the README; a missing or wrong one stops the start with its name.
"""

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from edge_api.shared.env import ConfigError, read_env
from edge_api.shared.kafka_settings import KafkaSettings
from todoproject.environment import env
from todoproject.logs import logging_config
from todoproject.theme import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Core
DEBUG = env("DJANGO_DEBUG")
SECRET_KEY = env("DJANGO_SECRET_KEY")
# As Django's own check of a deployment, which only warns.
if not DEBUG and (len(SECRET_KEY) < 50 or len(set(SECRET_KEY)) < 5 or SECRET_KEY.startswith("django-insecure-")):
    raise ImproperlyConfigured("DJANGO_SECRET_KEY: must be 50 random characters or more, unless DJANGO_DEBUG is true")
API_AUTH = env("DJANGO_API_AUTH")
if API_AUTH == "open" and not DEBUG:
    raise ImproperlyConfigured("DJANGO_API_AUTH: must be token, unless DJANGO_DEBUG is true")
ALLOWED_HOSTS = env("DJANGO_ALLOWED_HOSTS")
if not (ALLOWED_HOSTS or DEBUG):
    raise ImproperlyConfigured("DJANGO_ALLOWED_HOSTS: must be names of hosts, unless DJANGO_DEBUG is true")
CSRF_TRUSTED_ORIGINS = env("DJANGO_CSRF_TRUSTED_ORIGINS")
WEB_THREADS = 16  # of each web process; half of them may wait for receipts
ROOT_URLCONF = "todoproject.urls"
LOGIN_REDIRECT_URL = "/api/todos/"  # of the browsable API, whose pages name their own
WSGI_APPLICATION = "todoproject.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["todoproject.formats"]

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "django.contrib.admin.apps.SimpleAdminConfig",  # urls.py imports its pages: workers and commands have none
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # the scripts of the API's documentation
    "django_celery_beat",
    "axes",
    "csp",
    "todos",
    "todos.tokens",
]
MIDDLEWARE = [
    "todoproject.middleware.RequestLog",
    "corsheaders.middleware.CorsMiddleware",  # around the next one, whose answers need its headers too
    "todoproject.middleware.ApiProblems",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "todoproject.middleware.PlainCookies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "todoproject.middleware.DatabaseAway",
    "todoproject.sign_in.RefusedSignIns",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Security: strict unless DJANGO_DEBUG, because plain-HTTP loopback cannot carry secure cookies
SECURE_SSL_REDIRECT = env("DJANGO_SECURE_SSL_REDIRECT", default=not DEBUG)
# Probes and the edge connect from inside, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz(/pipeline)?$", r"^metrics$", r"^\.well-known/jwks\.json$"]
BEHIND_PROXY = env("DJANGO_BEHIND_PROXY")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT
# Browsers keep a __Host- cookie only for this very host, and only over TLS.
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = (
    ("__Host-sessionid", "__Host-csrftoken") if SECURE_SSL_REDIRECT else ("sessionid", "csrftoken")
)
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SAMESITE = "Lax"  # a user who follows a link to the admin, as in an alert, is signed in
X_FRAME_OPTIONS = "DENY"
# Nothing from other hosts and no script in a page. The theme needs 'unsafe-eval', because Alpine.js makes functions of
# the expressions in its attributes, and styles in pages, for its colours and the widths of its bars.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# No page needs a device of the person who reads it.
PERMISSIONS_POLICY: dict[str, list[str]] = {
    feature: [] for feature in ("camera", "geolocation", "microphone", "payment", "usb")
}

# --- Sign-in: after five wrong passwords a user has to wait at this address. Unlock: manage.py axes_reset_username
AUTHENTICATION_BACKENDS = ["todoproject.sign_in.PasswordBackend"]
AXES_ENABLED = AXES_ENABLE_ADMIN = AXES_VERBOSE = False  # todoproject.sign_in counts; these are its rows and commands
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
SILENCED_SYSTEM_CHECKS = ["axes.W002", "axes.W003"]  # the parts of django-axes that count

# --- Database
DATABASES = {"default": env("DATABASE_URL")}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).update(
    connect_timeout=5,
    # A frozen worker must not keep its partitions' rows locked for longer than this.
    options="-c idle_in_transaction_session_timeout=30s",
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Static files of the admin, served by the web process itself
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# --- API
REST_FRAMEWORK = {
    "DEFAULT_PERMISSION_CLASSES": ["todos.tokens.authentication.HasScope"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "todos.tokens.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",  # for the API's own pages
    ],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_PAGINATION_CLASS": "todos.api.pagination.KeysetPagination",
    "DEFAULT_PARSER_CLASSES": ["todos.api.parsers.BoundedJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["todos.clients.ClientThrottle"],  # each web process counts for itself
    "DEFAULT_THROTTLE_RATES": {"user": env("DJANGO_API_RATE_LIMIT")},
    "EXCEPTION_HANDLER": "todos.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
# Pages of these origins may use the API; their requests carry no cookie.
CORS_ALLOWED_ORIGINS = env("DJANGO_CORS_ORIGINS")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = ["authorization", "content-type", "if-match", "if-none-match", "x-request-id"]
CORS_EXPOSE_HEADERS = ["ETag", "Retry-After", "X-Request-ID"]
SPECTACULAR_SETTINGS = {
    "TITLE": "Todos",
    "DESCRIPTION": "Stored todos. New ones come through the edge, which has a document of its own.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],  # public, as at the edge: it contains nothing that the source does not
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "todos.api.openapi.add_links"],
    "ENUM_NAME_OVERRIDES": {"BulkAction": "todos.api.bulk.ACTIONS", "BulkOutcome": "todos.api.bulk.OUTCOMES"},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Otherwise Swagger UI sends the document to its makers' validator.
    "SWAGGER_UI_SETTINGS": {"validatorUrl": None, "deepLinking": True},
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# --- Kafka
try:
    KAFKA = read_env(KafkaSettings, "KAFKA_", os.environ)
except ConfigError as exc:
    raise ImproperlyConfigured(str(exc)) from None
TOPIC_PARTITIONS = 6  # of a new topic; more with manage.py create_topics --partitions

# --- Celery
CELERY_BROKER_URL = env("REDIS_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 3, "health_check_interval": 10}
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "poll"  # of all tasks; workers read it without --queues
# Above the largest time budget, 60 s, with room for the last transaction. A container's stop grace is above both.
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 75, 90
CELERY_TASK_ACKS_LATE = False  # the schedule sends the next poll; a redelivered one would only overlap with it
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # else beat schedules a daily task that deletes results
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CONSUMER = "todoproject.celery_consumer:Consumer"
# Tasks are acknowledged before they run, so a reconnect neither cancels those that run nor has to fetch fewer.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_ENABLE_PREFETCH_COUNT_REDUCTION = False
CELERY_BEAT_SCHEDULER = "todoproject.beat:Scheduler"
# Seconds until beat notices an edit in the admin: one small query each time.
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- Traces
TRACING = env("DJANGO_TRACING")
if TRACING and not (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
    raise ImproperlyConfigured("DJANGO_TRACING: needs OpenTelemetry; install requirements/tracing.txt")

# --- Logging
LOGGING = logging_config(env("DJANGO_LOG_LEVEL"), env("DJANGO_LOG_FORMAT"))
