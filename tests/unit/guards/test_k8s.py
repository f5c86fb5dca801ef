"""The Kubernetes manifests pass their check, and the check notices each fault."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docker.check_k8s import complaints

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "docker" / "k8s", tmp_path / "k8s"))


def test_the_manifests_pass(manifests: Path) -> None:
    assert complaints(manifests) == []


def test_a_fault_fails_lint(manifests: Path) -> None:
    (manifests / "beat.yml").unlink()
    command = [sys.executable, "-m", "docker.check_k8s", str(manifests)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (1, "docker/k8s: kustomization.yml and the folder differ: beat.yml\n") == (done.returncode, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("edge.yml", "averageUtilization: 70", "averageUtilisation: 70", "averageUtilisation"),
        ("edge.yml", "maxReplicas: 20", "maxReplicas: many", "HorizontalPodAutoscaler edge"),
        (
            "edge.yml",
            "runAsNonRoot: true",
            "runAsNonRoot: false",
            "edge: securityContext.runAsNonRoot must be true",
        ),
        (
            "web.yml",
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
            "wait.securityContext.readOnly",
        ),
        ("beat.yml", "drop: [ALL]", "drop: [KILL]", "beat: wait.securityContext.capabilities.drop must be"),
        ("migrate.yml", "requests: {", "claims: [], request: {", "Job migrate"),
        (
            "edge.yml",
            "enableServiceLinks: false",
            "enableServiceLinks: true",
            "edge: enableServiceLinks must be false",
        ),
        ("web.yml", "limits: {memory: 512Mi}", "limits: {cpu: 1}", "web: web.resources.limits.memory is missing"),
        ("web.yml", "targetPort: http", "targetPort: www", "Service web: no pod that it selects has the port www"),
        ("edge.yml", "  selector: {app: edge}", "  selector: {app: edges}", "Service edge: no pod that it selects"),
        ("edge.yml", "readinessProbe:", "livenessProbe:", "Deployment edge: edge.readinessProbe is missing"),
        (
            "edge.yml",
            "spec:\n  # New",
            "spec:\n  replicas: 2\n  # New",
            "HorizontalPodAutoscaler edge: each apply would undo it",
        ),
        (
            "worker.yml",
            "maxUnavailable: 1\n",
            "minAvailable: 1\n",
            "Budget worker: maxUnavailable must be 1",
        ),
        ("beat.yml", "replicas: 1", "replicas: 2", "Deployment beat: replicas must be 1"),
        (
            "worker.yml",
            "maxReplicaCount: 3",
            "maxReplicaCount: 4",
            "more children than the default topic's 6 partitions",
        ),
        ("worker.yml", '"40000"', '"1000"', "less than the 40000 records"),
        (
            "worker.yml",
            "configMapRef: {name: todo-kafka}",
            "configMapRef: {name: todo-topic}",
            "no ConfigMap todo-topic",
        ),
        ("worker.yml", "consumerGroup: todo", "consumerGroup: other", "ScaledObject worker: consumerGroup must be"),
        ("worker.yml", "terminationGracePeriodSeconds: 100", "terminationGracePeriodSeconds: 60", "killed after 60 s"),
        ("settings/proxy.env", "WEB_SERVERS", "SERVERS_OF_WEB", "todo-proxy: no program reads SERVERS_OF_WEB"),
        ("settings/proxy.env", "WEB_SERVERS", "#", "ConfigMap todo-proxy: WEB_SERVERS is required"),
        ("haproxy.cfg", "path_beg /admin/", "path_beg /readyz /admin/", "serves /readyz of web"),
        ("proxy.yml", "configMap: {name: todo-haproxy}", "configMap: {name: haproxy}", "no ConfigMap haproxy"),
        ("settings/edge.env", "http://web:7008/", "web/", "EDGE_JWKS: must be a URL or an existing file"),
        ("settings/edge.env", "EDGE_AUTH=token", "EDGE_AUTH=open", "EDGE_AUTH: must be token"),
        ("settings/edge.env", "EDGE_RATE_LIMIT_BURST", "EDGE_BURST", "no program reads EDGE_BURST_SECONDS"),
        ("settings/django.env", "todo.example,web,", "todo.example,", "DJANGO_ALLOWED_HOSTS lacks web"),
        ("settings/django.env", "DJANGO_BEHIND", "DJANGO_BEHIND_A", "no program reads DJANGO_BEHIND_A_PROXY"),
        ("README.md", "`DATABASE_URL`", "the database's URL", "DATABASE_URL is required"),
        (
            "network.yml",
            "policyTypes: [Ingress, Egress]",
            "policyTypes: [Ingress]",
            "none denies all other traffic",
        ),
        ("network.yml", "port: 53}, {protocol: TCP, port: 53}", "port: 54}", "edge cannot reach port 53"),
        ("network.yml", "worker, beat, migrate]", "worker, beat]", "migrate cannot reach port 5432"),
        ("network.yml", "{app: web}", "{app: beat}", "NetworkPolicy: no egress of edge to web"),
        (
            "network.yml",
            "{podSelector: {matchLabels: {app: edge}}}",
            "{podSelector: {}}",
            "no ingress of web from edge",
        ),
        ("network.yml", "name: ingress}", "name: egress}", "NetworkPolicy: proxy does not admit the namespace ingress"),
        (
            "network.yml",
            "name: monitoring}}\n      ports: [{protocol: TCP, port: http}]",
            "name: ingress}}",
            "edge admits",
        ),
        (
            "network.yml",
            "    - from: [{podSelector: {matchLabels: {app: edge}}}]\n      ports",
            "    - ports",
            "NetworkPolicy: web admits the namespace ingress",
        ),
        (
            "network.yml",
            "values: [edge, web]}]}}]\n      ports: [{protocol: TCP, port: http}]",
            "values: [edge, web]}]}}]\n      ports: [{protocol: TCP, port: 80}]",
            "proxy cannot reach port http",
        ),
        ("kustomization.yml", "  - beat.yml\n", "", "kustomization.yml and the folder differ: beat.yml"),
        ("kustomization.yml", "settings/edge.env", "settings/web.env", "differ: settings/edge.env, settings/web.env"),
    ],
)
def test_a_fault_is_named(manifests: Path, file: str, old: str, new: str, complaint: str) -> None:
    text = (manifests / file).read_text()
    assert old in text
    (manifests / file).write_text(text.replace(old, new, 1))
    assert complaint in "\n".join(complaints(manifests))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_a_new_tag_is_a_new_job_and_a_new_setting_restarts_pods(manifests: Path) -> None:
    def rendered() -> dict[tuple[str, str], Any]:
        command = ["kubectl", "kustomize", str(manifests)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}

    def maps_of(documents: dict[tuple[str, str], Any], app: str) -> set[str]:
        pod = documents["Deployment", app]["spec"]["template"]["spec"]
        named = {one["configMapRef"]["name"] for one in pod["containers"][0]["envFrom"] if "configMapRef" in one}
        return named | {one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one}

    before = rendered()
    used = {name for app in ("proxy", "edge", "web") for name in maps_of(before, app)}
    assert used == {name for kind, name in before if kind == "ConfigMap"}
    assert ("Job", "migrate-0.1.0") in before

    kustomization = manifests / "kustomization.yml"
    kustomization.write_text(kustomization.read_text().replace('"0.1.0"', '"0.2.0"'))
    with (manifests / "settings" / "edge.env").open("a") as settings:
        settings.write("EDGE_MAX_CONNECTIONS=100\n")
    with (manifests / "haproxy.cfg").open("a") as config:
        config.write("# changed\n")
    after = rendered()

    assert ("Job", "migrate-0.2.0") in after
    assert maps_of(before, "edge") != maps_of(after, "edge")
    assert maps_of(before, "proxy") != maps_of(after, "proxy")
    assert maps_of(before, "web") == maps_of(after, "web")
