"""The Kubernetes manifests pass their check, and the check notices each fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "docker" / "k8s", tmp_path / "k8s"))


def complaints(manifests: Path) -> str:
    command = [sys.executable, "-m", "docker.check_k8s", str(manifests)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stderr), done.stderr
    return done.stderr


def test_the_manifests_pass(manifests: Path) -> None:
    assert complaints(manifests) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("edge.yml", "averageUtilization: 70", "averageUtilisation: 70", "averageUtilisation"),
        ("edge.yml", "maxReplicas: 20", "maxReplicas: many", "HorizontalPodAutoscaler edge"),
        ("edge.yml", "runAsNonRoot: true", "runAsNonRoot: false", "Deployment edge: must run as another user"),
        ("web.yml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "Deployment web: wait may write"),
        ("beat.yml", "drop: [ALL]", "drop: [KILL]", "Deployment beat: wait keeps capabilities"),
        ("migrate.yml", "requests: {", "claims: [], request: {", "Job migrate"),
        ("worker.yml", "consumerGroup: todo", "consumerGroup: other", "ScaledObject worker: reads"),
        ("worker.yml", "terminationGracePeriodSeconds: 100", "terminationGracePeriodSeconds: 60", "killed after 60 s"),
        ("settings.yml", "http://web/", "web/", "EDGE_JWKS: no such file"),
        ("settings.yml", "EDGE_AUTH: token", "EDGE_AUTH: open", "EDGE_AUTH: must be token"),
        ("settings.yml", "todo.example,web", "todo.example", "DJANGO_ALLOWED_HOSTS lacks web"),
        ("network.yml", "{app: web}", "{app: beat}", "NetworkPolicy: no egress of edge to web"),
        (
            "network.yml",
            "{podSelector: {matchLabels: {app: edge}}}",
            "{podSelector: {}}",
            "no ingress of web from edge",
        ),
        ("kustomization.yml", "  - beat.yml\n", "", "kustomization.yml and the folder differ: beat.yml"),
    ],
)
def test_a_fault_is_named(manifests: Path, file: str, old: str, new: str, complaint: str) -> None:
    text = (manifests / file).read_text()
    assert old in text
    (manifests / file).write_text(text.replace(old, new, 1))
    assert complaint in complaints(manifests)
