"""The theme's classes under the names of Django's own, which have types."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.admin.widgets import AdminTextareaWidget as Textarea
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.views import ChangeList
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea

__all__ = ["ChangeList", "ModelAdmin", "TabularInline", "Textarea"]
