"""docker/k8s against Kubernetes' own schemas, and against what holds the parts together. Needs no cluster."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes_validate import ValidationError, validate

from docker import k8s_relations
from docker.check_compose import ROOT, Broken

VERSION = "1.33"
PODS = {"Deployment", "Job"}
# No schema of Kubernetes knows them: see k8s_relations.
CUSTOM = {"keda.sh/v1alpha1"}
Document = dict[str, Any]


def load(folder: Path) -> list[Document]:
    """All that the kustomization names, with the ConfigMaps that it makes. Raises Broken."""
    kustomization = yaml.safe_load((folder / "kustomization.yml").read_text())
    generated = kustomization["configMapGenerator"]
    listed = {*kustomization["resources"], *(file for one in generated for file in one["envs"])}
    paths = [path for pattern in ("*.yml", "settings/*.env") for path in folder.glob(pattern)]
    there = {str(path.relative_to(folder)) for path in paths} - {"kustomization.yml"}
    if listed != there:
        raise Broken(f"kustomization.yml and the folder differ: {', '.join(sorted(listed ^ there))}")
    resources = sorted(kustomization["resources"])
    documents = [document for name in resources for document in yaml.safe_load_all((folder / name).read_text())]
    return documents + [_config_map(folder, one) for one in generated]


def _config_map(folder: Path, generated: Document) -> Document:
    lines = [line for file in generated["envs"] for line in (folder / file).read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    data = {name: value for name, _, value in pairs}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data}


def problems(documents: list[Document], readme: str) -> Iterator[str]:
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
        if document["kind"] == "Deployment":
            yield from (f"{name}: {problem}" for problem in _probes(document["spec"]["template"]["spec"]))
    yield from k8s_relations.problems(documents, readme)


def _pod(pod: Document) -> Iterator[str]:
    whole = pod.get("securityContext", {})
    if not whole.get("runAsNonRoot") or whole.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "must run as another user than root, with the runtime's seccomp profile"
    if pod.get("automountServiceAccountToken", True):
        yield "gets a token of the cluster, which it does not need"
    if pod.get("enableServiceLinks", True):
        yield "gets variables for the services, and EDGE_PORT is one of ours"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        security = container.get("securityContext", {})
        if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation", True):
            yield f"{container['name']} may write to its root file system or gain rights"
        if security.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{container['name']} keeps capabilities"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            yield f"{container['name']} requests no resources, or has no limit of memory"


def _probes(pod: Document) -> Iterator[str]:
    for container in pod["containers"]:
        needed = {"livenessProbe"} | ({"startupProbe", "readinessProbe"} if "ports" in container else set())
        if missing := needed - container.keys():
            yield f"{container['name']} lacks {', '.join(sorted(missing))}"


def complaints(folder: Path) -> list[str]:
    try:
        return list(problems(load(folder), (folder / "README.md").read_text()))
    except (Broken, OSError, KeyError) as exc:
        return [str(exc)]


def main() -> None:
    if found := complaints(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docker" / "k8s"):
        sys.exit("\n".join(f"docker/k8s: {problem}" for problem in found))


if __name__ == "__main__":
    main()
