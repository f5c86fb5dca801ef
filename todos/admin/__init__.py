"""The operators' pages."""

from django.contrib import admin

from todos.admin import dead_letters, ledger, schedules, todos  # noqa: F401  (registers them)

admin.site.site_header = admin.site.site_title = "Todo pipeline"
admin.site.index_title = "Operate"
