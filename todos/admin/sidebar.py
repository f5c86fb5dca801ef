"""What stands at the left of every page."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from todos.models import DeadLetter

MAX_BADGE = 99


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    def item(title: str, icon: str, model: str) -> dict[str, Any]:
        """`model` as app_label.modelname; there for those who may view it."""
        app, name = model.split(".")
        return {
            "title": title,
            "icon": icon,
            "link": reverse(f"admin:{app}_{name}_changelist"),
            "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
        }

    letters = item("Dead letters", "inbox_customize", "todos.deadletter")
    if request.user.has_perm("todos.view_deadletter") and (count := _open_dead_letters()):
        letters["badge"] = count
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
    """Empty for none; never counts further than it shows."""
    count = DeadLetter.objects.filter(status=DeadLetter.Status.OPEN)[: MAX_BADGE + 1].count()
    return f"{MAX_BADGE}+" if count > MAX_BADGE else str(count or "")
