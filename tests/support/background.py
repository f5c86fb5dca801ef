"""A thread that repeats a step beside the code of a `with` block."""

import threading
from types import TracebackType
from typing import Self


class Background(threading.Thread):
    """Calls `step` again and again until it leaves its `with` block."""

    every_seconds: float

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        while not self._ending.wait(self.every_seconds):
            self.step()

    def step(self) -> None:
        raise NotImplementedError
