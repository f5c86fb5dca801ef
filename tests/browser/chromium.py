"""Debian's Chromium: Playwright's own is not downloaded."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class NoChromium(Exception):
    """There is none, and it cannot be installed."""


@cache
def find() -> str:
    """Its path; installs it where that needs no password. Raises NoChromium."""
    if path := _path():
        return path
    if os.geteuid() or not shutil.which("apt-get"):
        raise NoChromium("no chromium on the PATH; install it as root: apt-get install chromium")
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
        if done.returncode:
            raise NoChromium(f"{' '.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}")
    if path := _path():
        return path
    raise NoChromium("apt-get installed chromium, but it is not on the PATH")


def _path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises NoChromium. Meanwhile the ORM may be used in spite of Playwright's event loop in this thread."""
    path = find()
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            yield browser
            browser.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
