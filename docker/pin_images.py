"""Pin the images of others to what their tags mean now, or renew the pins: `make pin-images`. Needs Docker."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("compose.yml", "docker/*.Dockerfile", "docker/k8s/*.yml")
# Images that are built here have no tag.
IMAGE = re.compile(r"^(?P<key>FROM |\s+image: )(?P<name>[\w./-]+:[\w.-]+)(?:@(?P<digest>\S*))?", re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main() -> None:
    """Ask for each digest, then write all of them. Without an answer for each image nothing is changed."""
    digests = {name: _ask(name) for name in _digests(ROOT)}
    for path in _files(ROOT):
        text = path.read_text()
        path.write_text(IMAGE.sub(lambda found: f"{found['key']}{found['name']}@{digests[found['name']]}", text))


def complaints(root: Path) -> Iterator[str]:
    """Yield each digest that is none, and each image that is pinned in one place and not in another."""
    for name, found in _digests(root).items():
        for digest in sorted(found - {""}):
            if not DIGEST.fullmatch(digest):
                yield f"{name}: {digest} is not sha256: and 64 hexadecimal digits"
        if len(found) > 1:
            yield f"{name}: pinned differently in several places; run make pin-images"


def _digests(root: Path) -> dict[str, set[str]]:
    """Return the digests of each image, an empty one where it has none."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in _files(root):
        for image in IMAGE.finditer(path.read_text()):
            found[image["name"]].add(image["digest"] or "")
    return found


def _files(root: Path) -> list[Path]:
    return [path for pattern in FILES for path in sorted(root.glob(pattern))]


def _ask(name: str) -> str:
    command = ["docker", "buildx", "imagetools", "inspect", name, "--format", "{{.Manifest.Digest}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        error = (done.stderr or done.stdout).strip()[-300:]
        sys.exit(f"{name}: no registry tells its digest, so no image is pinned: {error}")
    return digest


if __name__ == "__main__":
    main()
