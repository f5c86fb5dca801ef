"""A migration runs while the release before it is at work: it only adds, and takes no lock that lasts."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from todos import migrations

# Those up to here came before the first release: no older code can be at work.
BEFORE_RELEASE = "0013_paused_schedules"
NAMES = sorted(path.stem for path in Path(migrations.__path__[0]).glob("[0-9]*.py"))

TAKES_AWAY = r"DROP (?:COLUMN|CONSTRAINT|TABLE)|RENAME (?:TO|COLUMN)"
FORBIDDEN = {
    r"ALTER COLUMN \S+ (?:TYPE|SET NOT NULL)": "rewrites or reads the whole table under a lock",
    r"ALTER COLUMN \S+ DROP DEFAULT": "older code inserts no value: db_default, or null",
    r"ADD COLUMN (?!.*(?:DEFAULT|NULL(?<!NOT NULL)))": "older code inserts no value: db_default, or null",
}
ON_OLD_TABLES = {
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).* ON \"?(\w+)": "use AddIndexConcurrently in a migration of its own",
    r"ALTER TABLE \"?(\w+)\"? ADD CONSTRAINT (?!.*NOT VALID)": "use AddConstraintNotValid, then ValidateConstraint",
}


def faults(name: str, sql: str) -> Iterator[str]:
    """What is taken away has been used by no code since the release before: its migration is NNNN_remove_SOMETHING."""
    new_tables = set(re.findall(r"CREATE TABLE \"?(\w+)", sql))
    for line in sql.splitlines():
        if re.search(TAKES_AWAY, line) and not re.match(r"\d+_remove_", name):
            yield f"{name}: {line}: older code may use it"
        yield from (f"{name}: {line}: {why}" for pattern, why in FORBIDDEN.items() if re.search(pattern, line))
        for pattern, why in ON_OLD_TABLES.items():
            if (found := re.search(pattern, line)) and found[1] not in new_tables:
                yield f"{name}: {line}: {why}"


def sql_of(name: str) -> str:
    out = io.StringIO()
    call_command("sqlmigrate", "todos", name, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)  # what is built concurrently cannot be in one
def test_migrations_are_safe_beside_older_code() -> None:
    assert BEFORE_RELEASE in NAMES
    assert [] == [fault for name in NAMES if name > BEFORE_RELEASE for fault in faults(name, sql_of(name))]


@pytest.mark.django_db
def test_the_check_reads_what_django_writes() -> None:
    """Of the migrations that no older code was at work with, some would not pass."""
    assert [] == [*faults("0010_request_id", sql_of("0010_request_id"))]
    assert [] == [*faults("0013_paused_schedules", sql_of("0013_paused_schedules"))]
    (fault,) = faults("0008_todo_done", sql_of("0008_todo_done"))
    assert "AddIndexConcurrently" in fault
    assert any("DROP" in fault for fault in faults("0004_batch_history", sql_of("0004_batch_history")))


@pytest.mark.parametrize(
    "sql",
    [
        'ALTER TABLE "todos_todo" DROP COLUMN "title" CASCADE;',
        'ALTER TABLE "todos_todo" RENAME COLUMN "title" TO "name";',
        'ALTER TABLE "todos_todo" ALTER COLUMN "title" TYPE text USING "title"::text;',
        'ALTER TABLE "todos_todo" ALTER COLUMN "label" SET NOT NULL;',
        'ALTER TABLE "todos_todo" ALTER COLUMN "label" DROP DEFAULT;',
        'ALTER TABLE "todos_todo" ADD COLUMN "label" varchar(9) NOT NULL;',
        'CREATE INDEX "todo_label" ON "todos_todo" ("label");',
        'ALTER TABLE "todos_todo" ADD CONSTRAINT "short" CHECK (length("title") < 9);',
    ],
)
def test_what_is_unsafe_is_noticed(sql: str) -> None:
    assert 1 == len([*faults("0099_change", sql)])


@pytest.mark.parametrize(
    "sql",
    [
        'ALTER TABLE "todos_todo" ADD COLUMN "label" varchar(9) NULL;',
        'ALTER TABLE "todos_todo" ADD COLUMN "label" varchar(9) DEFAULT \'\' NOT NULL;',
        'CREATE INDEX CONCURRENTLY "todo_label" ON "todos_todo" ("label");',
        'CREATE TABLE "new" ("id" bigint);\nCREATE INDEX "new_id" ON "new" ("id");',
        'ALTER TABLE "todos_todo" ADD CONSTRAINT "short" CHECK (length("title") < 9) NOT VALID;',
    ],
)
def test_what_is_safe_is_not(sql: str) -> None:
    assert [] == [*faults("0099_change", sql)]


def test_what_no_code_uses_any_more_may_be_removed() -> None:
    assert [] == [*faults("0099_remove_label", 'ALTER TABLE "todos_todo" DROP COLUMN "label" CASCADE;')]
