"""Check docker/k8s against Kubernetes' own schemas, and what its parts say of each other. Needs no cluster."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes_validate import ValidationError, validate

from docker import check_proxy, variables
from docker.check_compose import HARD_LIMIT, ROOT, Broken
from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError
from edge_api.shared.kafka_settings import KafkaSettings
from todoproject import settings
from todos.ingest.options import PollOptions

Document = dict[str, Any]
ByName = dict[tuple[str, str], Document]

VERSION = "1.33"
CUSTOM = {"keda.sh/v1alpha1"}  # has no schema there
ANY = object()

# --- What must be in a document; more may be

POD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,  # they would set EDGE_PORT, which the edge reads
}
CONTAINER = {
    "securityContext": {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    },
    "resources": {"requests": {"cpu": ANY, "memory": ANY}, "limits": {"memory": ANY}},
}
PROBES = {"livenessProbe": ANY}
PROBES_OF_SERVER = {"startupProbe": ANY, "livenessProbe": ANY, "readinessProbe": ANY}
BEAT = {"replicas": 1, "strategy": {"type": "Recreate"}}  # a second one would tick twice
DENY_ALL = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
SPREAD = ("proxy", "edge", "web", "worker")  # several of each, so that a machine can be drained while they work
REACHES = {  # the ports that an app connects to, DNS first
    "proxy": (53, "http"),
    "edge": (53, 9092),
    "web": (53, 9092, 5432, 6379),
    "worker": (53, 9092, 5432, 6379),
    "beat": (53, 5432, 6379),
    "migrate": (53, 9092, 5432),
}
BATCHES_IN_HAND = 2  # a child stores one and reads the next


def missing(actual: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Yield what `expected` has and `actual` has not, or has with another value."""
    if isinstance(expected, dict) and expected:
        fields = actual if isinstance(actual, dict) else {}
        for name, value in expected.items():
            yield from missing(fields.get(name), value, f"{path}.{name}".removeprefix("."))
    elif expected is ANY and actual is None:
        yield f"{path} is missing"
    elif expected is not ANY and actual != expected:
        yield f"{path} must be {json.dumps(expected)}"


def complaints(folder: Path) -> list[str]:
    """Return what is wrong with the manifests in `folder`."""
    try:
        documents = load(folder)
        if found := list(_invalid(documents)):
            return found
        by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
        checks = (_pods, _names, _scaling, _worker, _edge, _network, _front)
        readme, config = (folder / "README.md").read_text(), folder / "haproxy.cfg"
        found = [problem for check in checks for problem in check(by_name)]
        return [*found, *_variables(by_name, readme, config), *check_proxy.complaints(config)]
    except (Broken, OSError, KeyError) as exc:
        return [str(exc)]


def load(folder: Path) -> list[Document]:
    """Return all that the kustomization names, with the ConfigMaps that it makes. Raises Broken."""
    kustomization = yaml.safe_load((folder / "kustomization.yml").read_text())
    generated = kustomization["configMapGenerator"]
    listed = {*kustomization["resources"], *(file for one in generated for file in _sources(one))}
    paths = [path for pattern in ("*.yml", "*.cfg", "settings/*.env") for path in folder.glob(pattern)]
    existing = {str(path.relative_to(folder)) for path in paths} - {"kustomization.yml"}
    if listed != existing:
        raise Broken(f"kustomization.yml and the folder differ: {', '.join(sorted(listed ^ existing))}")
    resources = sorted(kustomization["resources"])
    documents = [document for name in resources for document in yaml.safe_load_all((folder / name).read_text())]
    return documents + [_config_map(folder, one) for one in generated]


def _sources(generated: Document) -> list[str]:
    return [*generated.get("envs", []), *generated.get("files", [])]


def _config_map(folder: Path, generated: Document) -> Document:
    lines = [line for file in generated.get("envs", []) for line in (folder / file).read_text().splitlines()]
    data = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    data |= {file: (folder / file).read_text() for file in generated.get("files", [])}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generated["name"]}, "data": data}


def _invalid(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        if document["apiVersion"] not in CUSTOM:
            try:
                validate(document, VERSION, strict=True)
            except ValidationError as exc:
                where = ".".join(map(str, exc.path))
                yield f"{document['kind']} {document['metadata']['name']}: {where}: {exc.message}"


def _templates(by_name: ByName) -> Iterator[tuple[str, str, Document]]:
    """Yield the kind, the name and the pod template of each Deployment and Job."""
    for (kind, name), document in by_name.items():
        if kind in {"Deployment", "Job"}:
            yield kind, name, document["spec"]["template"]


def _pods(by_name: ByName) -> Iterator[str]:
    for kind, name, template in _templates(by_name):
        pod = template["spec"]
        found = list(missing(pod, POD))
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            found += missing(container, CONTAINER, container["name"])
        if kind == "Deployment":
            for container in pod["containers"]:
                found += missing(container, PROBES_OF_SERVER if "ports" in container else PROBES, container["name"])
        yield from (f"{kind} {name}: {problem}" for problem in found)


def _names(by_name: ByName) -> Iterator[str]:
    """Find names that lead to nothing: of ConfigMaps, and of the pods and ports of a Service."""
    templates = list(_templates(by_name))
    for kind, name, template in templates:
        pod = template["spec"]
        sources = [s for c in [*pod.get("initContainers", []), *pod["containers"]] for s in c["envFrom"]]
        maps = {source["configMapRef"]["name"] for source in sources if "configMapRef" in source}
        maps |= {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
        yield from (f"{kind} {name}: no ConfigMap {one}" for one in sorted(maps) if ("ConfigMap", one) not in by_name)
    for (kind, name), document in by_name.items():
        if kind == "Service":
            spec = document["spec"]
            pods = [t["spec"] for _, _, t in templates if spec["selector"].items() <= t["metadata"]["labels"].items()]
            ports = {port["name"] for pod in pods for one in pod["containers"] for port in one.get("ports", [])}
            if lost := {port["targetPort"] for port in spec["ports"]} - ports:
                yield f"Service {name}: no pod that it selects has the port {', '.join(map(str, lost))}"


def _scaling(by_name: ByName) -> Iterator[str]:
    for (kind, name), document in by_name.items():
        if kind in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = by_name.get(("Deployment", document["spec"]["scaleTargetRef"]["name"]))
            if target is None:
                yield f"{kind} {name}: scales nothing"
            elif "replicas" in target["spec"]:
                yield f"{kind} {name}: each apply would undo it, because the deployment names its replicas"
    for app in SPREAD:
        budget = by_name.get(("PodDisruptionBudget", app), {"spec": {}})["spec"]
        expected = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}
        yield from (f"PodDisruptionBudget {app}: {problem}" for problem in missing(budget, expected))
    if ("PodDisruptionBudget", "beat") in by_name:
        yield "PodDisruptionBudget beat: would keep its machine from being drained for ever"
    yield from (f"Deployment beat: {problem}" for problem in missing(by_name["Deployment", "beat"]["spec"], BEAT))


def _worker(by_name: ByName) -> Iterator[str]:
    """Check that the scaler reads the lag where the workers read todos, and that a stop interrupts no poll."""
    kafka = by_name["ConfigMap", "todo-kafka"]["data"]
    scaler, pod = by_name["ScaledObject", "worker"]["spec"], by_name["Deployment", "worker"]["spec"]["template"]["spec"]
    (trigger,) = scaler["triggers"]
    expected = {
        "bootstrapServers": kafka["KAFKA_BOOTSTRAP_SERVERS"],
        "consumerGroup": kafka.get("KAFKA_GROUP", KafkaSettings().group),
        "topic": kafka.get("KAFKA_TOPIC", KafkaSettings().topic),
    }
    yield from (f"ScaledObject worker: {problem}" for problem in missing(trigger["metadata"], expected))
    options = dict(word.split("=") for word in pod["containers"][0]["command"] if "=" in word)
    children = int(options["--concurrency"])
    in_hand = children * BATCHES_IN_HAND * PollOptions().max_records
    if int(trigger["metadata"]["lagThreshold"]) < in_hand:
        yield f"ScaledObject worker: lagThreshold is less than the {in_hand} records that one worker has in hand"
    if scaler["maxReplicaCount"] * children > settings.TOPIC_PARTITIONS:
        yield f"ScaledObject worker: more children than the default topic's {settings.TOPIC_PARTITIONS} partitions"
    grace, limit = pod.get("terminationGracePeriodSeconds", 30), HARD_LIMIT.total_seconds()
    if grace <= limit:
        yield f"Deployment worker: killed after {grace} s, before the task's hard limit of {limit:.0f} s"


def _edge(by_name: ByName) -> Iterator[str]:
    """Check that the edge starts with its settings, and can ask `web` for the keys of tokens."""
    kafka, edge, django = (by_name["ConfigMap", f"todo-{name}"]["data"] for name in ("kafka", "edge", "django"))
    try:
        load_settings(kafka | edge | {"EDGE_HOST": "0.0.0.0"})  # noqa: S104 - as in the image
    except ConfigError as exc:
        yield f"ConfigMap todo-edge: {exc}"
        return
    host = str(urlsplit(edge["EDGE_JWKS"]).hostname)
    if host not in django["DJANGO_ALLOWED_HOSTS"].split(","):
        yield f"ConfigMap todo-django: DJANGO_ALLOWED_HOSTS lacks {host}, which the edge asks for keys"
    for app, direction, which, peer in (("edge", "egress", "to", host), (host, "ingress", "from", "edge")):
        own = [spec for spec in _policies(by_name) if spec["podSelector"] == {"matchLabels": {"app": app}}]
        ends = [end for spec in own for rule in spec.get(direction, []) for end in rule.get(which, [])]
        if {"podSelector": {"matchLabels": {"app": peer}}} not in ends:
            yield f"NetworkPolicy: no {direction} of {app} {which} {peer}"


def _network(by_name: ByName) -> Iterator[str]:
    """Check that only named traffic passes, and that each app reaches what it needs."""
    policies = _policies(by_name)
    if DENY_ALL not in policies:
        yield "NetworkPolicy: none denies all other traffic"
    for app, ports in REACHES.items():
        rules = [rule for spec in policies if _selects(spec["podSelector"], app) for rule in spec.get("egress", [])]
        for port in set(ports) - {one["port"] for rule in rules for one in rule["ports"]}:
            yield f"NetworkPolicy: {app} cannot reach port {port}"


def _front(by_name: ByName) -> Iterator[str]:
    """Check that clients, who come by the namespace `ingress`, reach nothing but HAProxy."""
    for app in REACHES:
        own = [spec for spec in _policies(by_name) if _selects(spec["podSelector"], app)]
        ends = [end for spec in own for rule in spec.get("ingress", []) for end in rule.get("from", [{}])]
        if (app == "proxy") is not any(map(_admits_clients, ends)):
            yield f"NetworkPolicy: {app} {'does not admit' if app == 'proxy' else 'admits'} the namespace ingress"


def _admits_clients(end: Document) -> bool:
    """Return whether one end of a rule lets the namespace `ingress` in."""
    selector = end.get("namespaceSelector", None if end else {})
    label = "kubernetes.io/metadata.name"
    return selector is not None and _matches(selector, label, "ingress")


def _policies(by_name: ByName) -> list[Document]:
    return [document["spec"] for (kind, _), document in by_name.items() if kind == "NetworkPolicy"]


def _selects(selector: Document, app: str) -> bool:
    return _matches(selector, "app", app)


def _matches(selector: Document, label: str, value: str) -> bool:
    """Return whether the selector takes what has this label and no other."""
    expressions = [(one["key"], one["operator"] == "In", one["values"]) for one in selector.get("matchExpressions", [])]
    return selector.get("matchLabels", {}).items() <= {(label, value)} and all(
        (key == label and value in values) is wanted for key, wanted, values in expressions
    )


def _variables(by_name: ByName, readme: str, config: Path) -> Iterator[str]:
    """Check that a program reads each variable, and that those it requires are set or are secrets of README.md."""
    for name, read, required in (
        ("proxy", check_proxy.variables(config), check_proxy.variables(config)),
        ("kafka", variables.KAFKA, set()),
        ("edge", variables.EDGE, set()),
        ("django", variables.DJANGO, variables.REQUIRED),
    ):
        given = set(by_name["ConfigMap", f"todo-{name}"]["data"])
        for one in variables.unknown(given, read):
            yield f"ConfigMap todo-{name}: no program reads {one}"
        for one in sorted(required - given):
            if f"`{one}`" not in readme:
                yield f"ConfigMap todo-{name}: {one} is required, and README.md has it in no secret"


if __name__ == "__main__":
    if found := complaints(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docker" / "k8s"):
        sys.exit("\n".join(f"docker/k8s: {problem}" for problem in found))
