"""The site around the pages: its titles, its first page, its side bar and its search."""

from typing import Any

from django.contrib import admin
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from todos.admin import pipeline
from todos.models import DeadLetter

MAX_BADGE = 99

admin.site.site_header = admin.site.site_title = "Todo pipeline"
admin.site.index_title = "Pipeline"
admin.site.index_template = "admin/todos/pipeline/page.html"


def _urls() -> list[URLPattern]:
    # No page uses these two views of Django's, which fail on keys that are no UUID, and on U+0000.
    return [*pipeline.urls(), path("r/<path:row>", _not_found), path("autocomplete/", _not_found)]


def _not_found(request: HttpRequest, **_: str) -> HttpResponse:
    raise Http404


_theme_search = admin.site.search  # type: ignore[attr-defined]


def _search(request: HttpRequest) -> HttpResponse:
    try:
        response: HttpResponse = _theme_search(request)
    except (InvalidPage, ValueError) as exc:
        raise Http404("There is no such page of results.") from exc
    return response


# What the theme's site asks for.
admin.site.extra_urls = _urls  # type: ignore[attr-defined]
admin.site.search = _search  # type: ignore[attr-defined]


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
