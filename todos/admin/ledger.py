"""What the ingest keeps for itself: to look at, never to edit."""

import base64

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html

from todos.admin.paginator import EstimatingPaginator
from todos.models import Batch, DeadLetter, OffsetLoss, PartitionLedger, Poller

SHOWN_BYTES = 4096


class ReadOnlyAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(PartitionLedger)
class PartitionLedgerAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "next_offset", "moved_at", "worker", "epoch", "generation"]

    @admin.display(description="held by")
    def worker(self, row: PartitionLedger) -> str:
        poller = Poller.objects.filter(id=row.holder).first() if row.holder else None
        return str(poller or "-")


@admin.register(Poller)
class PollerAdmin(ReadOnlyAdmin):
    list_display = ["worker", "topic", "started_at", "expires_at"]


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "reason", "detail", "created_at"]
    list_filter = ["reason", "created_at"]
    fields = ["topic", "partition", "offset", "created_at", "reason", "detail", "raw_key", "raw_value", "raw_headers"]
    paginator = EstimatingPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the whole table

    @admin.display(description="key")
    def raw_key(self, letter: DeadLetter) -> str:
        return _shown(letter.key)

    @admin.display(description="value")
    def raw_value(self, letter: DeadLetter) -> str:
        return _shown(letter.value)

    @admin.display(description="headers")
    def raw_headers(self, letter: DeadLetter) -> str:
        shown = [f"{name}: {_text(value and base64.b64decode(value))}" for name, value in letter.headers]
        return format_html("<pre>{}</pre>", "\n".join(shown) or "none")


@admin.register(OffsetLoss)
class OffsetLossAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "first_offset", "next_offset", "cause", "created_at"]


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = [
        "__str__", "stored", "duplicates", "dead_letters", "lost", "bytes", "milliseconds", "worker", "created_at",
    ]  # fmt: skip
    paginator = EstimatingPaginator
    show_full_result_count = False


def _shown(data: bytes | memoryview | None) -> str:
    return format_html("<pre>{}</pre>", _text(data))


def _text(data: bytes | memoryview | None) -> str:
    """Bytes as text that is safe to show: what is not printable appears as an escape."""
    if data is None:
        return "none"
    text = "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in bytes(data[:SHOWN_BYTES]).decode(errors="backslashreplace")
    )
    return f"{text}… ({len(data):,} bytes in all)" if len(data) > SHOWN_BYTES else text
