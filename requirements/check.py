"""Says, offline and in a blink, when requirements/*.txt are not what requirements/*.in ask for."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Packages that must stay out of an image, even as dependencies.
FORBIDDEN = {
    "edge": {"django", "djangorestframework", "celery", "psycopg2-binary", "psycopg"},
    "django": {"fastapi", "starlette", "psycopg"},
    "tracing": {"django", "celery", "fastapi", "starlette", "psycopg", "grpcio"},  # it goes on top of either image
    "run": {"psycopg"},  # Django would prefer it to psycopg2
    "dev": {"psycopg"},
}
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; .+?)? \\\n(?P<detail>(?:[ ]+.*\n)*)", re.MULTILINE)


def read_wishes(path: Path) -> dict[str, Requirement]:
    """The requirements a .in file names itself, without those it includes with -r."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    wishes = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(wish.name): wish for wish in wishes}


def read_pins(path: Path) -> dict[str, re.Match[str]]:
    return {canonicalize_name(pin["name"]): pin for pin in PIN.finditer(path.read_text())}


def problems(folder: Path) -> list[str]:
    wishes = {path.stem: read_wishes(path) for path in sorted(folder.glob("*.in"))}
    pins = {stem: read_pins(folder / f"{stem}.txt") for stem in wishes}
    return [
        *(f"{stem}.txt: {problem}" for stem in wishes for problem in _unmet(wishes[stem], pins[stem])),
        *(f"{stem}.txt: {problem}" for stem in wishes for problem in _unfounded(wishes, pins[stem])),
        *(
            f"{stem}.txt: {name} must stay out"
            for stem in wishes
            for name in sorted(FORBIDDEN.get(stem, set()) & pins[stem].keys())
        ),
        *_disagreeing(pins.values()),
    ]


def _unmet(wishes: dict[str, Requirement], pins: dict[str, re.Match[str]]) -> Iterator[str]:
    for name, wish in wishes.items():
        if name not in pins:
            yield f"{name} is missing"
        elif not wish.specifier.contains(pins[name]["version"], prereleases=True):
            yield f"{name} is {pins[name]['version']}, asked for is {wish.specifier}"


def _unfounded(wishes: dict[str, dict[str, Requirement]], pins: dict[str, re.Match[str]]) -> Iterator[str]:
    for name, pin in pins.items():
        if "--hash=sha256:" not in pin["detail"]:
            yield f"{name} has no hash"
        for origin in re.findall(r"-r (\w+)\.in", pin["detail"]):
            if name not in wishes[origin]:
                yield f"{name} is left over, {origin}.in names it no more"


def _disagreeing(files: Iterable[dict[str, re.Match[str]]]) -> Iterator[str]:
    versions: dict[str, set[str]] = {}
    for pins in files:
        for name, pin in pins.items():
            versions.setdefault(name, set()).add(pin["version"])
    return (
        f"{name} has several versions: {', '.join(sorted(found))}" for name, found in versions.items() if len(found) > 1
    )


def main() -> None:
    try:
        found = problems(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
    except OSError as exc:
        sys.exit(f"requirements: {exc.filename}: {exc.strerror}; make requirements")
    if found:
        sys.exit("\n".join(f"requirements: {problem}" for problem in found) + "\nrequirements: make requirements")


if __name__ == "__main__":
    main()
