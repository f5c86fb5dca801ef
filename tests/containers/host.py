"""What a Docker engine changes on its machine and leaves so: links, firewall, forwarding, mounts, programs."""

import contextlib
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import psutil

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
LINKS = Path("/sys/class/net")
FIREWALLS = ("iptables", "ip6tables")
# Of each table that a firewall may not have had before.
CHAINS = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}


class State(NamedTuple):
    links: frozenset[str]
    rules: dict[str, str]
    forwarding: str


def state() -> State:
    forwarding = FORWARDING.read_text() if FORWARDING.is_file() else ""
    return State(frozenset(_links()), {tool: output(f"{tool}-save") for tool in FIREWALLS}, forwarding)


def restore(before: State, folder: Path) -> None:
    """Call it when the engine has ended; its containers end here if it did not end them."""
    for process in _programs(folder):
        for one in [*process.children(recursive=True), process]:
            one.kill()
    for mount in reversed(_mounts(folder)):
        _quietly("umount", "--lazy", mount)
    for link in _new_links(before):
        _quietly("ip", "link", "delete", link)
    for tool, rules in before.rules.items():
        _quietly(f"{tool}-restore", told=rules + _emptied(output(f"{tool}-save"), rules))
    if before.forwarding and FORWARDING.read_text() != before.forwarding:
        FORWARDING.write_text(before.forwarding)


def differences(before: State, folder: Path) -> list[str]:
    rules = [tool for tool, text in before.rules.items() if _bare(output(f"{tool}-save")) != _bare(text)]
    programs = [f"process {process.pid}" for process in _programs(folder)]
    return [*_new_links(before), *(f"rules of {tool}" for tool in rules), *_mounts(folder), *programs]


def output(*command: str) -> str:
    """Empty where there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _programs(folder: Path) -> list[psutil.Process]:
    """The engine's parts name its folder; what runs in its containers are their children."""
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if any(str(folder) in word for word in one.info["cmdline"] or ())]


def _mounts(folder: Path) -> list[str]:
    return [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f" {folder}/" in line]


def _links() -> list[str]:
    return [path.name for path in LINKS.iterdir()] if LINKS.is_dir() else []


def _new_links(before: State) -> list[str]:
    return [link for link in _links() if link not in before.links and link.startswith(("docker", "br-", "veth"))]


def _emptied(now: str, before: str) -> str:
    """The tables that are there only now, without rules; a firewall cannot forget a table."""
    new = [table for table in CHAINS if f"*{table}\n" in now and f"*{table}\n" not in before]
    policies = {table: "".join(f":{chain} ACCEPT [0:0]\n" for chain in CHAINS[table]) for table in new}
    return "".join(f"*{table}\n{policies[table]}COMMIT\n" for table in new)


def _bare(rules: str) -> set[str]:
    """Without comments, counters and what an empty table has."""
    lines = (re.sub(r" \[\d+:\d+\]", "", line) for line in rules.splitlines())
    return {
        line for line in lines if line and not line.startswith(("#", "*", "COMMIT")) and not line.endswith(" ACCEPT")
    }


def _quietly(*command: str, told: str | None = None) -> None:
    """What it could not do, `differences` tells."""
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(command, input=told, text=True, capture_output=True, check=False)
