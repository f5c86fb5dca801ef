from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import RedirectView

from todos.monitoring import views as health
from todos.monitoring.metrics import metrics
from todos.tokens.views import jwks


def no_icon(request: HttpRequest) -> HttpResponse:
    """Answer 204: every browser asks for it, and a 404 would log a warning each time."""
    return HttpResponse(status=204, headers={"Cache-Control": "max-age=86400"})


admin.autodiscover()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path(".well-known/jwks.json", jwks),
    path("api/", include("todos.tokens.urls")),
    path("api/", include("todos.api.urls")),
    path("api/auth/", include("rest_framework.urls")),  # to sign in to the API's own pages
    path("favicon.ico", no_icon),
    path("healthz", health.healthz),
    path("metrics", metrics),
    path("readyz", health.readyz),
    path("readyz/pipeline", health.readyz_pipeline),
]
