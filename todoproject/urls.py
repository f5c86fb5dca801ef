from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from todos import health

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("todos.api.urls")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
]
