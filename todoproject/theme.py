"""Settings of django-unfold: how the admin looks."""

from collections.abc import Callable

from django.http import HttpRequest
from django.templatetags.static import static


def _static(path: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(path)  # the name has a hash, known only after collectstatic


UNFOLD = {
    "SITE_TITLE": "Todo pipeline",
    "SITE_HEADER": "Todo pipeline",
    "SITE_SYMBOL": "conversion_path",
    "SITE_URL": None,
    "STYLES": [_static("todos/admin.css")],
    "SCRIPTS": [_static("todos/admin.js")],
    "DASHBOARD_CALLBACK": "todos.admin.pipeline.add_panels",
    "SIDEBAR": {"navigation": "todos.admin.site.navigation"},
    "BORDER_RADIUS": "8px",
    # Blue, with a contrast of at least 4.5 to 1: white on 600, 600 on white, 500 on the dark background.
    "COLORS": {
        "primary": {
            "50": "#eff6ff", "100": "#dbeafe", "200": "#bfdbfe", "300": "#93c5fd", "400": "#60a5fa", "500": "#5b9bf8",
            "600": "#1d5fd6", "700": "#1d4ed8", "800": "#1e40af", "900": "#1e3a8a", "950": "#172554",
        },
    },
}  # fmt: skip
