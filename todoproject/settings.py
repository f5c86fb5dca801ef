"""Django's settings, and the only place on this side that reads the environment.

Every variable is listed in the README; a missing or wrong one stops the start with its name.
"""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from edge_api.contract import ConfigError, KafkaSettings, read_env
from todoproject.logs import FORMATS, logging_config
from todoproject.theme import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _read_url(name: str, *schemes: str) -> str:
    url = str(env.str(name))
    if urlsplit(url).scheme not in schemes:
        raise ImproperlyConfigured(f"{name}: must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return url


def _read_bool(name: str, *, default: bool) -> bool:
    """Not env.bool, which takes a typing error for false."""
    value = str(env.str(name, default=str(default))).lower()
    if value not in {"true", "false", "1", "0"}:
        raise ImproperlyConfigured(f"{name}: must be true or false")
    return value in {"true", "1"}


# --- Core
DEBUG = _read_bool("DJANGO_DEBUG", default=False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY")
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])
ROOT_URLCONF = "todoproject.urls"
WSGI_APPLICATION = "todoproject.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["todoproject.formats"]

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "django.contrib.admin",
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
    "todos",
]
MIDDLEWARE = [
    "todoproject.middleware.RequestLog",
    "corsheaders.middleware.CorsMiddleware",  # around the next one, whose answers need its headers too
    "todoproject.middleware.ApiProblems",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "todoproject.middleware.DatabaseAway",
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
SECURE_SSL_REDIRECT = _read_bool("DJANGO_SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz(/pipeline)?$", r"^metrics$"]  # probes come from inside, without TLS
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if _read_bool("DJANGO_BEHIND_PROXY", default=False) else None
)
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SESSION_COOKIE_SECURE = SECURE_SSL_REDIRECT
CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT

# --- Database
DATABASES = {"default": env.db_url_config(_read_url("DATABASE_URL", "postgres", "postgresql", "pgsql"))}
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
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_PAGINATION_CLASS": "todos.api.pagination.KeysetPagination",
    "DEFAULT_PARSER_CLASSES": ["todos.api.parsers.BoundedJSONParser"],
    "EXCEPTION_HANDLER": "todos.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
# Pages of other origins that may use the API; no cookie goes with their requests.
CORS_ALLOWED_ORIGINS = env.list("DJANGO_CORS_ORIGINS", default=[])
if any(not urlsplit(origin).scheme or urlsplit(origin).path for origin in CORS_ALLOWED_ORIGINS):
    raise ImproperlyConfigured("DJANGO_CORS_ORIGINS: must be origins such as https://todo.example, separated by commas")
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = ["authorization", "content-type", "if-match", "if-none-match", "x-request-id"]
CORS_EXPOSE_HEADERS = ["ETag", "Retry-After", "X-Request-ID"]
SPECTACULAR_SETTINGS = {
    "TITLE": "Todos",
    "DESCRIPTION": "Stored todos. New ones come through the edge, which has a document of its own.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {"BulkAction": "todos.api.bulk.ACTIONS", "BulkOutcome": "todos.api.bulk.OUTCOMES"},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Swagger UI would send the document to its makers' validator.
    "SWAGGER_UI_SETTINGS": {"validatorUrl": None, "deepLinking": True},
}

# --- Kafka
try:
    KAFKA = read_env(KafkaSettings, "KAFKA_", environ.Env.ENVIRON)
except ConfigError as exc:
    raise ImproperlyConfigured(str(exc)) from None

# --- Celery
CELERY_BROKER_URL = _read_url("REDIS_URL", "redis", "rediss")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 10, "socket_connect_timeout": 3, "health_check_interval": 10}
CELERY_TIMEZONE = "UTC"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = {"todos.tasks.*": {"queue": "poll"}}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
# Seconds until beat notices an edit in the admin: one small query each time.
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- Traces
TRACING = _read_bool("DJANGO_TRACING", default=False)
if TRACING and not (find_spec("opentelemetry") and find_spec("opentelemetry.sdk")):
    raise ImproperlyConfigured("DJANGO_TRACING: needs OpenTelemetry; install requirements/tracing.txt")

# --- Logging
LOG_LEVEL = env.str("DJANGO_LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured("DJANGO_LOG_LEVEL: must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
LOG_FORMAT = env.str("DJANGO_LOG_FORMAT", default="line").lower()
if LOG_FORMAT not in FORMATS:
    raise ImproperlyConfigured(f"DJANGO_LOG_FORMAT: must be {' or '.join(FORMATS)}")
LOGGING = logging_config(LOG_LEVEL, LOG_FORMAT)
