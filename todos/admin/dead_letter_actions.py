"""The admin's actions on dead letters, in the list and on each letter's page."""

from collections.abc import Callable, Iterable
from functools import partial

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from todos.admin.base import ModelAdmin
from todos.dead_letters import service as dead_letters
from todos.dead_letters.bulk_edit import Change, InvalidChange, edit_field
from todos.dead_letters.service import Outcome
from todos.event_log import LogUnavailable
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter

# What one request may take on: a few seconds at the default rate. manage.py dead_letters has no limit.
MAX_SELECTED = 500
MAX_SHOWN_REFUSALS = 10


class DeadLetterActions(ModelAdmin):
    actions = ["redrive", "edit_field", "discard", "reopen", "revalidate"]

    @admin.action(description="Redrive: send to Kafka again", permissions=["change"])
    def redrive(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        with KafkaSender(settings.KAFKA) as sender:
            send = partial(dead_letters.redrive, sender=sender, by=actor(request))
            self._apply(request, letters, "redriven", lambda ids: dead_letters.each(send, dead_letters.paced(ids)))

    @admin.action(description="Set a field of each, and say how many are valid then", permissions=["change"])
    def edit_field(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        if letters.count() > MAX_SELECTED:
            self._too_many(request)
            return None
        error = ""
        if "path" in request.POST:
            try:
                change = Change(request.POST["path"], request.POST.get("value", ""))
            except InvalidChange as exc:
                error = str(exc)
            else:
                self._edit_field(request, letters, change)
                return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Set a field of dead letters",
            "opts": self.opts,
            "letters": letters,
            "error": error,
            "path": request.POST.get("path", "title"),
            "value": request.POST.get("value", ""),
        }
        return TemplateResponse(request, "admin/todos/deadletter/edit_field.html", context)

    def _edit_field(self, request: HttpRequest, letters: QuerySet[DeadLetter], change: Change) -> None:
        ids = list(letters.values_list("pk", flat=True))
        before = _ready(ids)
        act = partial(edit_field, change=change, by=actor(request))
        self._apply(request, letters, "edited", partial(dead_letters.each, act))
        text = f"Ready to be redriven: {before} of {len(ids)} before, {_ready(ids)} after."
        self.message_user(request, text, messages.INFO)

    @admin.action(description="Discard, with a reason", permissions=["change"])
    def discard(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        if because := request.POST.get("because", "").strip():
            act = partial(dead_letters.discard, because=because, by=actor(request))
            self._apply(request, letters, "discarded", partial(dead_letters.each, act))
            return None
        if letters.count() > MAX_SELECTED:
            self._too_many(request)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Discard dead letters",
            "opts": self.opts,
            "letters": letters,
            "reason_is_missing": "because" in request.POST,
        }
        return TemplateResponse(request, "admin/todos/deadletter/discard.html", context)

    @admin.action(description="Reopen what was redriven or discarded", permissions=["change"])
    def reopen(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        act = partial(dead_letters.reopen, by=actor(request))
        self._apply(request, letters, "reopened", partial(dead_letters.each, act))

    @admin.action(description="Revalidate: would a redrive be accepted?", permissions=["view"])
    def revalidate(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        self._apply(request, letters, "ready to be redriven", partial(dead_letters.each, dead_letters.check_redrive))

    def _apply(
        self,
        request: HttpRequest,
        letters: QuerySet[DeadLetter],
        done: str,
        act: Callable[[list[int]], Iterable[Outcome]],
    ) -> None:
        """Says how many were `done` and why others were not, also when Kafka went away in the middle."""
        ids = list(letters.order_by("pk").values_list("pk", flat=True)[: MAX_SELECTED + 1])
        if len(ids) > MAX_SELECTED:
            self._too_many(request)
            return
        count, refusals = 0, []
        try:
            for outcome in act(ids):
                if outcome.refused:
                    refusals.append(outcome.refused)
                else:
                    count += 1
        except LogUnavailable as exc:
            left = len(ids) - count - len(refusals)
            self.message_user(request, f"{left} of {len(ids)} left as they were. {exc}", messages.ERROR)
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)
        for refusal in refusals[:MAX_SHOWN_REFUSALS]:
            self.message_user(request, refusal, messages.WARNING)
        if len(refusals) > MAX_SHOWN_REFUSALS:
            self.message_user(request, f"{len(refusals) - MAX_SHOWN_REFUSALS} more refused.", messages.WARNING)

    def _too_many(self, request: HttpRequest) -> None:
        text = f"At most {MAX_SELECTED} at a time here; manage.py dead_letters takes any number."
        self.message_user(request, text, messages.ERROR)


def _ready(ids: list[int]) -> int:
    return sum(not outcome.refused for outcome in dead_letters.each(dead_letters.check_redrive, ids))


def actor(request: HttpRequest) -> str:
    """The user's name, as the history keeps it."""
    return request.user.get_username()
