"""docker/k8s against Kubernetes' own schemas, and against what holds the parts together. Needs no cluster."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate import ValidationError, validate

from docker.check_compose import ROOT, Broken, read_hard_limit

VERSION = "1.33"
PODS = {"Deployment", "Job"}
# No schema of Kubernetes knows them: see `_scaler`.
CUSTOM = {"keda.sh/v1alpha1"}
Document = dict[str, Any]


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
    yield from _worker(documents)


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


def _worker(documents: list[Document]) -> Iterator[str]:
    """The scaler reads the lag where the workers read todos, and a stop cuts no poll short."""
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
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


def main() -> None:
    try:
        found = list(problems(load(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docker" / "k8s")))
    except (Broken, OSError, KeyError) as exc:
        found = [str(exc)]
    if found:
        sys.exit("\n".join(f"docker/k8s: {problem}" for problem in found))


if __name__ == "__main__":
    main()
