"""The theme's classes under the names of Django's own, which have types."""

from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.utils.html import format_html

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.admin.widgets import AdminTextareaWidget as Textarea
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.views import ChangeList
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea

__all__ = ["ChangeList", "EstimatedList", "ModelAdmin", "TabularInline", "Textarea", "label"]


class EstimatedList(ChangeList):
    """Does not offer to show all, whose number nobody counted."""

    def get_results(self, request: HttpRequest) -> Any:
        super().get_results(request)
        self.full_result_count = self.result_count


def label(text: str, state: str) -> str:
    """`state` is a colour: ok, warning, bad or nothing."""
    return format_html('<span class="todo-label {}">{}</span>', state, text)
