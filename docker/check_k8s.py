"""docker/k8s against Kubernetes' own schemas, and against what holds the parts together. Needs no cluster."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes_validate import ValidationError, validate

from docker.check_compose import ROOT, Broken, read_hard_limit
from edge_api.contract import ConfigError
from edge_api.settings import load_settings

VERSION = "1.33"
PODS = {"Deployment", "Job"}
# No schema of Kubernetes knows them: see `_worker`.
CUSTOM = {"keda.sh/v1alpha1"}
Document = dict[str, Any]
ByName = dict[tuple[str, str], Document]


def load(folder: Path) -> list[Document]:
    """All that the kustomization names. Raises Broken."""
    listed = set(yaml.safe_load((folder / "kustomization.yml").read_text())["resources"])
    there = {path.name for path in folder.glob("*.yml")} - {"kustomization.yml"}
    if listed != there:
        raise Broken(f"kustomization.yml and the folder differ: {', '.join(sorted(listed ^ there))}")
    return [document for name in sorted(there) for document in yaml.safe_load_all((folder / name).read_text())]


def problems(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["apiVersion"] not in CUSTOM:
            try:
                validate(document, VERSION, strict=True)
            except ValidationError as exc:
                yield f"{name}: {'.'.join(map(str, exc.path))}: {exc.message}"
                continue
        if document["kind"] in PODS:
            yield from (f"{name}: {problem}" for problem in _pod(document["spec"]["template"]["spec"]))
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    yield from _worker(by_name)
    yield from _edge(by_name)


def _pod(pod: Document) -> Iterator[str]:
    whole = pod.get("securityContext", {})
    if not whole.get("runAsNonRoot") or whole.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "must run as another user than root, with the runtime's seccomp profile"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        security = container.get("securityContext", {})
        if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation", True):
            yield f"{container['name']} may write to its root file system or gain rights"
        if security.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{container['name']} keeps capabilities"
        if not container.get("resources", {}).get("requests"):
            yield f"{container['name']} requests no resources"


def _worker(by_name: ByName) -> Iterator[str]:
    """The scaler reads the lag where the workers read todos, and a stop cuts no poll short."""
    kafka = by_name["ConfigMap", "todo-kafka"]["data"]
    (trigger,) = by_name["ScaledObject", "worker"]["spec"]["triggers"]
    told = {name: trigger["metadata"][name] for name in ("bootstrapServers", "consumerGroup", "topic")}
    expected = {
        "bootstrapServers": kafka["KAFKA_BOOTSTRAP_SERVERS"],
        "consumerGroup": kafka.get("KAFKA_GROUP", "todo"),
        "topic": kafka.get("KAFKA_TOPIC", "todo-create"),
    }
    if told != expected:
        yield f"ScaledObject worker: reads {told}, the workers {expected}"
    grace = by_name["Deployment", "worker"]["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
    limit = read_hard_limit(ROOT / "todos" / "tasks.py").total_seconds()
    if grace <= limit:
        yield f"Deployment worker: killed after {grace} s, before the task's hard limit of {limit:.0f} s"


def _edge(by_name: ByName) -> Iterator[str]:
    """It starts with these settings, and reaches the keys of tokens where they say."""
    kafka, edge, django = (by_name["ConfigMap", f"todo-{name}"]["data"] for name in ("kafka", "edge", "django"))
    try:
        # As in the image, which listens to all.
        load_settings(kafka | edge | {"EDGE_HOST": "0.0.0.0"})  # noqa: S104
    except ConfigError as exc:
        yield f"ConfigMap todo-edge: {exc}"
        return
    host = str(urlsplit(edge["EDGE_JWKS"]).hostname)
    if host not in django["DJANGO_ALLOWED_HOSTS"].split(","):
        yield f"ConfigMap todo-django: DJANGO_ALLOWED_HOSTS lacks {host}, which the edge asks for keys"
    # What is let out at one end has to be let in at the other.
    ways = {"to": ("edge", "egress", host), "from": (host, "ingress", "edge")}
    for which, (app, direction, peer) in ways.items():
        rules = [rule for policy in _policies(by_name, app) for rule in policy.get(direction, [])]
        if {"podSelector": {"matchLabels": {"app": peer}}} not in [end for rule in rules for end in rule[which]]:
            yield f"NetworkPolicy: no {direction} of {app} {which} {peer}"


def _policies(by_name: ByName, app: str) -> list[Document]:
    specs = [document["spec"] for (kind, _), document in by_name.items() if kind == "NetworkPolicy"]
    return [spec for spec in specs if spec["podSelector"] == {"matchLabels": {"app": app}}]


def main() -> None:
    try:
        found = list(problems(load(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docker" / "k8s")))
    except (Broken, OSError, KeyError) as exc:
        found = [str(exc)]
    if found:
        sys.exit("\n".join(f"docker/k8s: {problem}" for problem in found))


if __name__ == "__main__":
    main()
