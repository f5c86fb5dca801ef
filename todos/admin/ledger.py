"""The read-only pages of what the ingest records: ledger, polls, batches and losses."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from todos.admin.base import ChangeList, EstimatedList, EstimatingPaginator, ModelAdmin
from todos.models import Batch, LogDivergence, OffsetLoss, PartitionLedger, Poller, PollRun


class ReadOnlyAdmin(ModelAdmin):
    """A page without add, change and delete."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EstimatedList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(PartitionLedger)
class PartitionLedgerAdmin(ReadOnlyAdmin):
    list_display = [
        "__str__",
        "next_offset",
        "halt_reason",
        "halted_since",
        "moved_at",
        "worker",
        "epoch",
        "generation",
    ]

    @admin.display(description="held by")
    def worker(self, row: PartitionLedger) -> str:
        poller = Poller.objects.filter(id=row.holder).first() if row.holder else None
        return str(poller or "-")


@admin.register(Poller)
class PollerAdmin(ReadOnlyAdmin):
    list_display = ["worker", "topic", "started_at", "expires_at"]


@admin.register(PollRun)
class PollRunAdmin(ReadOnlyAdmin):
    list_display = [
        "__str__", "ended_at", "batches", "stored", "duplicates", "dead_letters", "erased", "lost", "failures",
        "last_error",
    ]  # fmt: skip
    paginator = EstimatingPaginator
    show_full_result_count = False


@admin.register(OffsetLoss)
class OffsetLossAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "first_offset", "next_offset", "cause", "created_at"]


@admin.register(LogDivergence)
class LogDivergenceAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "first_offset", "next_offset", "created_at", "resolved_at", "resumed_at"]


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = [
        "__str__", "stored", "duplicates", "dead_letters", "erased", "lost", "bytes", "milliseconds", "worker",
        "created_at",
    ]  # fmt: skip
    paginator = EstimatingPaginator
    show_full_result_count = False
