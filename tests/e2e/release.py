"""The next release, invented: version 2 of the event has an optional `label`, and the table a column for it."""

import shutil
from pathlib import Path

from tests.support.stack import ROOT

UNWANTED = shutil.ignore_patterns(".git", ".venv*", ".env", ".devstack", "tests", "benchmarks", "docs", "__pycache__")

# What this release says, and what the next one says instead.
CHANGES: dict[str, list[tuple[str, str]]] = {
    "edge_api/contract/events.py": [
        ("\nVERSION = 1 ", "\nVERSION = 2 "),
        ("    version: Literal[1] = 1\n", "    version: Literal[1, 2] = 2\n"),
        ('"type":"TodoCreated","version":1,', '"type":"TodoCreated","version":2,'),
        (
            "    description: Description | None = None\n",
            "    description: Description | None = None\n    label: Title | None = None\n",
        ),
    ],
    "todos/models/todo.py": [
        (
            '    is_done = models.BooleanField("done", default=False, db_default=False)\n',
            '    is_done = models.BooleanField("done", default=False, db_default=False)\n'
            "    label = models.CharField(max_length=255, default='', db_default='', editable=False)\n",
        )
    ],
    "todos/ingest/parsing.py": [
        ('    owner: str = ""\n', '    owner: str = ""\n    label: str = ""\n'),
        ('        event.owner or "",\n', '        event.owner or "",\n        event.label or "",\n'),
    ],
}
# First the column, which takes a moment's lock; then its index, which takes its time and blocks no query.
MIGRATIONS = {
    "9000_label": """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("todos", "LAST")]
    operations = [
        migrations.AddField(
            "todo", "label", models.CharField(max_length=255, default='', db_default='', editable=False)
        )
    ]
""",
    "9001_label_index": """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("todos", "9000_label")]
    operations = [AddIndexConcurrently("todo", models.Index(fields=["label"], name="todo_label"))]
""",
}


def next_release(folder: Path) -> Path:
    """A copy of this project, changed."""
    shutil.copytree(ROOT, folder, ignore=UNWANTED)
    for name, changes in CHANGES.items():
        path = folder / name
        text = path.read_text()
        for old, new in changes:
            assert 1 == text.count(old), f"{name} does not say once: {old!r}"
            text = text.replace(old, new)
        path.write_text(text)
    migrations = folder / "todos" / "migrations"
    last = max(path.stem for path in migrations.glob("[0-9]*.py"))
    for name, text in MIGRATIONS.items():
        (migrations / f"{name}.py").write_text(text.replace("LAST", last))
    return folder
