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
from todos.dead_letters.bulk_edit import FieldEdit, InvalidFieldEdit, edit_field
from todos.event_log import LogUnavailable
from todos.kafka.producer import KafkaSender
from todos.models import DeadLetter

# One request may take a few seconds: 500 letters at the default rate. manage.py dead_letters has no limit.
MAX_SELECTED = 500
MAX_SHOWN_REFUSALS = 10


class DeadLetterActions(ModelAdmin):
    """The actions of the list, which the buttons of a letter's page send too."""

    actions = ["redrive", "edit_field", "discard", "reopen", "revalidate"]

    @admin.action(description="Redrive: send to Kafka again", permissions=["change"])
    def redrive(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        with KafkaSender(settings.KAFKA) as sender:
            send = partial(dead_letters.redrive, sender=sender, by=actor(request))
            self._apply(request, letters, send, done="redriven", pace=dead_letters.paced)

    @admin.action(description="Set a field of each, and count the valid ones", permissions=["change"])
    def edit_field(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        if letters.count() > MAX_SELECTED:
            self._too_many(request)
            return None
        error = ""
        if "path" in request.POST:
            try:
                field_edit = FieldEdit(request.POST["path"], request.POST.get("value", ""))
            except InvalidFieldEdit as exc:
                error = str(exc)
            else:
                self._edit_field(request, letters, field_edit)
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

    def _edit_field(self, request: HttpRequest, letters: QuerySet[DeadLetter], field_edit: FieldEdit) -> None:
        ids = list(letters.values_list("pk", flat=True))
        before = _count_redrivable(ids)
        edit = partial(edit_field, field_edit=field_edit, by=actor(request))
        self._apply(request, letters, edit, done="edited")
        text = f"Ready to be redriven: {before} of {len(ids)} before, {_count_redrivable(ids)} after."
        self.message_user(request, text, messages.INFO)

    @admin.action(description="Discard, with a reason", permissions=["change"])
    def discard(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> HttpResponse | None:
        if because := request.POST.get("because", "").strip():
            discard = partial(dead_letters.discard, because=because, by=actor(request))
            self._apply(request, letters, discard, done="discarded")
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

    @admin.action(description="Reopen redriven or discarded ones", permissions=["change"])
    def reopen(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        self._apply(request, letters, partial(dead_letters.reopen, by=actor(request)), done="reopened")

    @admin.action(description="Check whether a redrive would be accepted", permissions=["view"])
    def revalidate(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        self._apply(request, letters, dead_letters.check_redrive, done="ready to be redriven")

    def _apply(
        self,
        request: HttpRequest,
        letters: QuerySet[DeadLetter],
        action: Callable[[int], object],
        *,
        done: str,
        pace: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> None:
        """Apply the action to each letter, and report how many were `done` and why others were not.

        The report also covers what was done before Kafka became unavailable.
        """
        ids = list(letters.order_by("pk").values_list("pk", flat=True)[: MAX_SELECTED + 1])
        if len(ids) > MAX_SELECTED:
            self._too_many(request)
            return
        count, refusals = 0, []
        try:
            for result in dead_letters.apply_each(action, pace(ids)):
                if result.refusal:
                    refusals.append(result.refusal)
                else:
                    count += 1
        except LogUnavailable as exc:
            left = len(ids) - count - len(refusals)
            self.message_user(request, f"{left} of {len(ids)} unchanged. {exc}", messages.ERROR)
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)
        for refusal in refusals[:MAX_SHOWN_REFUSALS]:
            self.message_user(request, refusal, messages.WARNING)
        if len(refusals) > MAX_SHOWN_REFUSALS:
            self.message_user(request, f"{len(refusals) - MAX_SHOWN_REFUSALS} more refused.", messages.WARNING)

    def _too_many(self, request: HttpRequest) -> None:
        text = f"Select at most {MAX_SELECTED} here. manage.py dead_letters takes any number."
        self.message_user(request, text, messages.ERROR)


def _count_redrivable(ids: list[int]) -> int:
    return sum(not result.refusal for result in dead_letters.apply_each(dead_letters.check_redrive, ids))


def actor(request: HttpRequest) -> str:
    """Return the user's name for the history of a dead letter."""
    return request.user.get_username()
