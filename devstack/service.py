"""What PostgreSQL, Valkey and Kafka have in common: prepare a folder, start, stop, and be struck down in tests."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from devstack.ports import free_port, is_taken
from devstack.process import Process, ServiceError


class Service(ABC):
    """Keeps its port and its data over any number of starts; listens on 127.0.0.1 only and asks no password."""

    start_seconds: float = 60

    def __init__(self, directory: Path, port: int = 0, *, settings: Mapping[str, object] = {}) -> None:
        """`settings` are further settings of the server, by its own names."""
        self.directory = directory.resolve()
        self.port, self.settings = port or free_port(), settings
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        if self._process is None:
            self._process = self.prepare()
        return self._process

    def start(self) -> None:
        """Blocks until the service answers. Raises ServiceError, and then nothing runs."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start without waiting for it, so that several can start at once."""
        if self.process.pid is None and is_taken(self.port):
            raise ServiceError(f"{self.process.name}: port {self.port} is in use")
        self.process.start()

    def wait_ready(self) -> None:
        self.process.wait_ready(self.is_ready, seconds=self.start_seconds)

    def stop(self) -> None:
        """Graceful; blocks until it is gone. Idempotent, as is `kill`."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    def pause(self) -> None:
        if self._process:
            self._process.pause()

    def resume(self) -> None:
        if self._process:
            self._process.resume()

    @abstractmethod
    def prepare(self) -> Process:
        """Make the folder, download, initialise; what may be interrupted and done again."""

    @abstractmethod
    def is_ready(self) -> bool: ...
