"""The operators' pages."""

from django.contrib import admin

from todos.admin import access, dead_letters, ledger, pipeline, schedules, todos  # noqa: F401  (registers them)

admin.site.site_header = admin.site.site_title = "Todo pipeline"
admin.site.index_title = "Pipeline"
admin.site.index_template = "admin/todos/pipeline/page.html"
admin.site.extra_urls = pipeline.urls  # type: ignore[attr-defined]  # the theme's site asks for them
