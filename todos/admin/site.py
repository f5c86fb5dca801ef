"""The site around the pages: its titles, its first page, its side bar, and Django's users and groups in the theme."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.urls import reverse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from todos.admin import pipeline
from todos.admin.base import ModelAdmin
from todos.models import DeadLetter

MAX_BADGE = 99

admin.site.site_header = admin.site.site_title = "Todo pipeline"
admin.site.index_title = "Pipeline"
admin.site.index_template = "admin/todos/pipeline/page.html"
admin.site.extra_urls = pipeline.urls  # type: ignore[attr-defined]  # the theme's site asks for them
admin.site.unregister([User, Group])


@admin.register(User)
class ThemedUserAdmin(UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):
    pass


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the groups of the side bar, as the theme's settings take them."""

    def item(title: str, icon: str, model: str) -> dict[str, Any]:
        """Return the link to a model's list, for users who may view it; `model` is app_label.modelname."""
        app, name = model.split(".")
        return {
            "title": title,
            "icon": icon,
            "link": reverse(f"admin:{app}_{name}_changelist"),
            "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
        }

    letters = item("Dead letters", "inbox_customize", "todos.deadletter")
    if request.user.has_perm("todos.view_deadletter") and (badge := _open_dead_letters()):
        letters["badge"] = badge
    return [
        {
            "title": "Operate",
            "items": [
                {"title": "Pipeline", "icon": "monitoring", "link": reverse("admin:index")},
                item("Schedules", "tune", "django_celery_beat.periodictask"),
                letters,
                item("Todos", "checklist", "todos.todo"),
            ],
        },
        {
            "title": "Evidence",
            "separator": True,
            "items": [
                item("Ledger", "menu_book", "todos.partitionledger"),
                item("Running polls", "autorenew", "todos.poller"),
                item("Polls", "history", "todos.pollrun"),
                item("Batches", "stacks", "todos.batch"),
                item("Offset losses", "heart_broken", "todos.offsetloss"),
                item("Log divergences", "call_split", "todos.logdivergence"),
            ],
        },
        {
            "title": "Set up",
            "separator": True,
            "collapsible": True,
            "items": [
                item("Intervals", "timer", "django_celery_beat.intervalschedule"),
                item("Crontabs", "calendar_month", "django_celery_beat.crontabschedule"),
                item("Clocked", "alarm", "django_celery_beat.clockedschedule"),
                item("Solar events", "wb_sunny", "django_celery_beat.solarschedule"),
                item("Users", "person", "auth.user"),
                item("Groups", "group", "auth.group"),
            ],
        },
    ]


def _open_dead_letters() -> str:
    """Return the number of open dead letters, empty if there are none; counts no further than MAX_BADGE."""
    count = DeadLetter.objects.filter(status=DeadLetter.Status.OPEN)[: MAX_BADGE + 1].count()
    return f"{MAX_BADGE}+" if count > MAX_BADGE else str(count or "")
