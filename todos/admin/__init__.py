"""The operators' pages."""

from todos.admin import dead_letters, ledger, schedules, site, todos, users  # noqa: F401  (importing them registers the pages)
