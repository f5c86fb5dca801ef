"""The operators' pages."""

from todos.admin import ledger, schedules, todos  # noqa: F401  (registers them)
