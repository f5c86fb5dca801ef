"""`make pin-images` writes the digest of each image into every file that names it, and the check finds bad digests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docker.pin_images import complaints

ROOT = Path(__file__).resolve().parents[3]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGES = {"python:3.11-slim-bookworm", "haproxy:3.2", "postgres:18", "apache/kafka:4.3.1"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copy(ROOT / "compose.yml", tmp_path)
    return tmp_path


def pin(tree: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Run it with a `docker` that answers this; $4 is the image."""
    docker = tree / "bin" / "docker"
    docker.parent.mkdir(exist_ok=True)
    docker.write_text(f"#!/bin/sh\n{answer}\n")
    docker.chmod(0o755)
    env = os.environ | {"PATH": f"{docker.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "docker.pin_images"]
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)


def texts(tree: Path) -> dict[str, str]:
    files = (tree / "compose.yml", tree / "docker/django.Dockerfile", tree / "docker/edge.Dockerfile")
    return {path.name: path.read_text() for path in (*files, tree / "docker/k8s/proxy.yml")}


def test_each_image_is_pinned_and_can_be_pinned_again(tree: Path) -> None:
    before = texts(tree)
    for last in ("e", "f"):
        digest = DIGEST[:-1] + last
        done = pin(tree, f"echo {digest}")
        assert 0 == done.returncode, done.stderr
        assert [] == list(complaints(tree))
        pinned = texts(tree)
        assert before == {name: text.replace(f"@{digest}", "") for name, text in pinned.items()}
        for image in IMAGES:
            places = sum(text.count(image) for text in before.values())
            assert places == sum(text.count(f"{image}@{digest}") for text in pinned.values()) > 0


@pytest.mark.parametrize(
    "answer", ["echo no registry >&2; exit 1", f'[ "$4" = postgres:18 ] && echo sha256:0 || echo {DIGEST}']
)
def test_without_a_digest_for_each_image_nothing_is_changed(tree: Path, answer: str) -> None:
    before = texts(tree)
    done = pin(tree, answer)

    assert 1 == done.returncode
    assert "no registry tells its digest, so no image is pinned" in done.stderr
    assert before == texts(tree)


@pytest.mark.parametrize(
    ("pinned", "complaint"),
    [
        (f"haproxy:3.2@{DIGEST}", "haproxy:3.2: pinned differently in several places"),
        ("haproxy:3.2@sha256:abc", "haproxy:3.2: sha256:abc is not sha256: and 64 hexadecimal digits"),
        ("haproxy:3.2@latest", "haproxy:3.2: latest is not"),
    ],
)
def test_a_bad_digest_is_named(tree: Path, pinned: str, complaint: str) -> None:
    compose = tree / "compose.yml"
    compose.write_text(compose.read_text().replace("haproxy:3.2", pinned))
    assert complaint in "\n".join(complaints(tree))
