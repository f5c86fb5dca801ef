"""The action on a user that erases their owner, after a page that says what goes, and what remains where."""

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import Error as DatabaseFailure
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from todos.admin.base import ModelAdmin
from todos.models import ErasedOwner
from todos.operations.erasure import Erased, ErasureRefused, Subject, count, erase
from todos.operations.remnants import remnants

MAX_SECONDS = 20.0  # of one request; a trim finishes the rest
FINISHED_LATER = "The owner is erased as far as possible for now; a worker finishes it within the hour."


class ErasesOwners(ModelAdmin):
    """Adds the action to the list of users, for those who have the permission `todos.erase_owner`."""

    actions = ["erase_owner"]

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("todos.erase_owner"))

    @admin.action(description="Erase all data of one user…", permissions=["erase"])
    def erase_owner(self, request: HttpRequest, users: QuerySet[User]) -> HttpResponse | None:
        if len(selected := list(users[:2])) != 1:
            self.message_user(request, "Select one user: each erasure is confirmed by itself.", messages.ERROR)
            return None
        user, may_delete = selected[0], self.has_delete_permission(request) and selected[0] != request.user
        deletes_user = may_delete and bool(request.POST.get("delete_user"))
        try:
            if request.POST.get("post"):
                self._erase(request, user, deletes_user=deletes_user)
                return None
            counts = count(Subject.of_user(user))
        except ErasureRefused as exc:
            self.message_user(request, f"Not erased: {exc}.", messages.ERROR)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Erase an owner",
            "opts": self.opts,
            "user_to_erase": user,
            "counts": counts,
            "may_delete": may_delete and not user.is_superuser,
            "remnants": remnants(),
        }
        return TemplateResponse(request, "admin/todos/user/erase.html", context)

    def _erase(self, request: HttpRequest, user: User, *, deletes_user: bool) -> None:
        subject = Subject.of_user(user)
        try:
            erased = erase(subject, deletes_user=deletes_user, seconds=MAX_SECONDS)
        except DatabaseFailure:
            if not ErasedOwner.objects.filter(id__in=subject.ids, finished_at=None).exists():
                raise
            erased = Erased(is_finished=False)
        text = f"{erased.todos:,} todos and {erased.dead_letters:,} dead letters erased."
        LogEntry.objects.create(
            user_id=request.user.pk or 0, content_type=ContentType.objects.get_for_model(User), object_id=str(user.pk),
            action_flag=DELETION, object_repr="an owner was erased", change_message=text,
        )  # fmt: skip
        self.message_user(request, text, messages.SUCCESS)
        if not erased.is_finished:
            self.message_user(request, FINISHED_LATER, messages.WARNING)
