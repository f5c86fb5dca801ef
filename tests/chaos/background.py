"""What goes on beside the faults: a process manager that restarts programs, and a reader that watches todos arrive."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg2

from devstack.process import Process
from tests.chaos.journal import Journal
from tests.support.background import Background


class Supervisor(Background):
    """Starts again what has ended, as `restart: always` does, except what a fault keeps down for a while."""

    every_seconds = 1.0

    def __init__(self, processes: dict[str, Process]) -> None:
        super().__init__()
        self.processes = processes
        self.restarts: Counter[str] = Counter()
        self._down: set[str] = set()
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            for name, process in self.processes.items():
                if name not in self._down and process.pid is None:
                    process.start()
                    self.restarts[name] += 1

    def keep_down(self, name: str) -> None:
        with self._lock:
            self._down.add(name)

    @contextmanager
    def kept_down(self, name: str) -> Iterator[None]:
        self.keep_down(name)
        try:
            yield
        finally:
            with self._lock:
                self._down.remove(name)
            self.step()

    @contextmanager
    def nothing_ends(self) -> Iterator[None]:
        """Assert that no program ends meanwhile by itself. What a fault keeps down may."""
        before = self.restarts.copy()
        yield
        self.step()
        ended = self.restarts - before
        assert not ended, f"{', '.join(ended)} ended"


class Watcher(Background):
    """Asks the database which of the acknowledged todos it has; a database that is away has none."""

    every_seconds = 0.1

    def __init__(self, database_url: str, journal: Journal) -> None:
        super().__init__()
        self.database_url, self.journal = database_url, journal

    def step(self) -> None:
        with suppress(psycopg2.Error), closing(psycopg2.connect(self.database_url, connect_timeout=5)) as database:
            database.autocommit = True
            while not self._ending.wait(self.every_seconds):
                self._look(database)

    def _look(self, database: psycopg2.extensions.connection) -> None:
        waiting = self.journal.waiting()
        if not waiting:
            return
        with database.cursor() as cursor:
            cursor.execute("SELECT id::text FROM todos_todo WHERE id = ANY(%s::uuid[])", [waiting])
            self.journal.see([todo_id for (todo_id,) in cursor.fetchall()], time.time())
