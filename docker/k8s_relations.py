"""What one manifest says of another, and of the programs' settings: no schema can know that."""

import ast
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from docker import variables
from docker.check_compose import ROOT, read_hard_limit
from edge_api.settings import load_settings
from edge_api.shared.env import ConfigError

Document = dict[str, Any]
ByName = dict[tuple[str, str], Document]
# More than one of each: a machine may be drained while they work. A second beat would be one too many.
SPREAD = ("edge", "web", "worker")
# Of what a child has in hand, it stores one batch and reads the next.
BATCHES_IN_HAND = 2
NEEDS = {
    ("names", 53): ("edge", "web", "worker", "beat", "migrate"),
    ("Kafka", 9092): ("edge", "web", "worker", "migrate"),
    ("PostgreSQL", 5432): ("web", "worker", "beat", "migrate"),
    ("Redis", 6379): ("web", "worker", "beat"),
}


def problems(documents: list[Document], readme: str) -> Iterator[str]:
    by_name = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    yield from _names(by_name)
    yield from _disruptions(by_name)
    yield from _beat(by_name)
    yield from _worker(by_name)
    yield from _edge(by_name)
    yield from _network(by_name)
    yield from _variables(by_name, readme)


def _names(by_name: ByName) -> Iterator[str]:
    """Whatever is meant by a name is there, and whoever scales a deployment does so alone."""
    for (kind, name), document in by_name.items():
        if kind in {"Deployment", "Job"}:
            pod = document["spec"]["template"]["spec"]
            sources = [s for c in [*pod.get("initContainers", []), *pod["containers"]] for s in c["envFrom"]]
            maps = {source["configMapRef"]["name"] for source in sources if "configMapRef" in source}
            yield from (
                f"{kind} {name}: no ConfigMap {one}" for one in sorted(maps) if ("ConfigMap", one) not in by_name
            )
        if kind in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = by_name.get(("Deployment", document["spec"]["scaleTargetRef"]["name"]))
            if target is None:
                yield f"{kind} {name}: scales nothing"
            elif "replicas" in target["spec"]:
                yield f"{kind} {name}: each apply would undo it, because the deployment names its replicas"


def _disruptions(by_name: ByName) -> Iterator[str]:
    for app in SPREAD:
        budget = by_name.get(("PodDisruptionBudget", app), {"spec": {}})["spec"]
        if budget.get("selector") != {"matchLabels": {"app": app}} or budget.get("maxUnavailable") != 1:
            yield f"PodDisruptionBudget {app}: has to allow one of {app} to be away"
    if ("PodDisruptionBudget", "beat") in by_name:
        yield "PodDisruptionBudget beat: would keep its machine from being drained for ever"


def _beat(by_name: ByName) -> Iterator[str]:
    spec = by_name["Deployment", "beat"]["spec"]
    if (spec.get("replicas"), spec.get("strategy")) != (1, {"type": "Recreate"}):
        yield "Deployment beat: has to be one, and recreated: a second one ticks twice"


def _worker(by_name: ByName) -> Iterator[str]:
    """The scaler reads the lag where the workers read todos, and a stop cuts no poll short."""
    kafka = by_name["ConfigMap", "todo-kafka"]["data"]
    scaler, pod = by_name["ScaledObject", "worker"]["spec"], by_name["Deployment", "worker"]["spec"]["template"]["spec"]
    (trigger,) = scaler["triggers"]
    told = {name: trigger["metadata"][name] for name in ("bootstrapServers", "consumerGroup", "topic")}
    expected = {
        "bootstrapServers": kafka["KAFKA_BOOTSTRAP_SERVERS"],
        "consumerGroup": kafka.get("KAFKA_GROUP", "todo"),
        "topic": kafka.get("KAFKA_TOPIC", "todo-create"),
    }
    if told != expected:
        yield f"ScaledObject worker: reads {told}, the workers {expected}"
    options = [word.partition("=") for word in pod["containers"][0]["command"]]
    children = next(int(value) for name, _, value in options if name == "--concurrency")
    in_hand = children * BATCHES_IN_HAND * _default("todos/ingest/options.py", "max_records")
    if int(trigger["metadata"]["lagThreshold"]) < in_hand:
        yield f"ScaledObject worker: lagThreshold is less than the {in_hand} records that one worker has in hand"
    partitions = _default("todos/management/commands/create_topics.py", "--partitions")
    if scaler["maxReplicaCount"] * children > partitions:
        yield f"ScaledObject worker: more children than the default topic's {partitions} partitions"
    grace = pod.get("terminationGracePeriodSeconds", 30)
    limit = read_hard_limit(ROOT / "todos" / "tasks.py").total_seconds()
    if grace <= limit:
        yield f"Deployment worker: killed after {grace} s, before the task's hard limit of {limit:.0f} s"


def _default(file: str, name: str) -> int:
    """Of a field or an argument, read without Django."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and isinstance(node.value, ast.Call):
            return int(ast.literal_eval(node.value.args[0]))
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]) == repr(name):
            return next(int(ast.literal_eval(word.value)) for word in node.keywords if word.arg == "default")
    raise KeyError(f"{file} has no {name}")


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


def _network(by_name: ByName) -> Iterator[str]:
    """Nothing passes but what is named, and each app gets out to what it needs."""
    everybody = [spec for spec in _specs(by_name) if spec["podSelector"] == {}]
    if {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} not in everybody:
        yield "NetworkPolicy: nothing denies what is not named"
    for (what, port), apps in NEEDS.items():
        for app in apps:
            rules = [rule for spec in _specs(by_name) if _selects(spec, app) for rule in spec.get("egress", [])]
            if port not in [one["port"] for rule in rules for one in rule["ports"]]:
                yield f"NetworkPolicy: {app} cannot reach {what} at port {port}"


def _selects(spec: Document, app: str) -> bool:
    selector = spec["podSelector"]
    listed = [value for one in selector.get("matchExpressions", []) for value in one["values"]]
    return selector == {} or app in listed or selector.get("matchLabels") == {"app": app}


def _variables(by_name: ByName, readme: str) -> Iterator[str]:
    """Each is one that the programs read; what they cannot do without stands here, or among README.md's secrets."""
    django = variables.of_django()
    for name, known in (("kafka", variables.of_kafka()), ("edge", variables.of_edge()), ("django", django)):
        given = set(by_name["ConfigMap", f"todo-{name}"]["data"])
        yield from (f"ConfigMap todo-{name}: nobody reads {one}" for one in known.strangers(given))
        missing = sorted(one for one in known.required - given if f"`{one}`" not in readme)
        yield from (f"ConfigMap todo-{name}: {one} is required, and README.md has it in no secret" for one in missing)


def _policies(by_name: ByName, app: str) -> list[Document]:
    return [spec for spec in _specs(by_name) if spec["podSelector"] == {"matchLabels": {"app": app}}]


def _specs(by_name: ByName) -> list[Document]:
    return [document["spec"] for (kind, _), document in by_name.items() if kind == "NetworkPolicy"]
