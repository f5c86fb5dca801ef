"""The pages of users and groups: Django's, in the theme. They tell what a change does to tokens."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import authenticate
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from todos.admin.base import ModelAdmin
from todos.admin.erasure import ErasesOwners
from todos.tokens.issue import ACCESS_LIFETIME

admin.site.unregister([User, Group])


def tell_end_of_tokens(request: HttpRequest) -> None:
    """Tell the operator until when tokens work that were issued before the change."""
    until = timezone.now() + ACCESS_LIFETIME
    messages.warning(
        request,
        "From now on the API refuses the tokens that were issued before. The edge accepts those of a sign-in until"
        f" {until:%H:%M:%S} UTC, and those of create_token until their own end. To end all tokens at once, run"
        " manage.py signing_keys rotate --grace 0s.",
    )


@admin.register(User)
class ThemedUserAdmin(ErasesOwners, UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        response: HttpResponse = super().user_change_password(request, id, form_url)
        if response.headers.get("Location", request.get_full_path()) != request.get_full_path():  # it was changed
            tell_end_of_tokens(request)
        return response

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data and not obj.is_active:
            tell_end_of_tokens(request)

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        super().delete_model(request, obj)
        tell_end_of_tokens(request)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        super().delete_queryset(request, queryset)
        tell_end_of_tokens(request)


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):
    pass


_theme_password_change = admin.site.password_change


def _password_change(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Change the user's own password. The old one counts as a guess, or a stolen session could try them all."""
    if request.method == "POST":
        authenticate(request, username=request.user.get_username(), password=request.POST.get("old_password", ""))
    response = _theme_password_change(request, extra_context)
    if "Location" in response.headers:
        tell_end_of_tokens(request)
    return response


admin.site.password_change = _password_change  # type: ignore[method-assign,assignment]
