"""Text that survives a browser."""

from typing import Any

from django import forms

from todos.admin.base import Textarea


class PlainTextField(forms.CharField):
    """Keeps white space. Browsers send every end of line as CR LF; that alone is no edit."""

    widget = Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        return with_newlines(str(super().to_python(value)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(with_newlines(initial or ""), data)


def with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
