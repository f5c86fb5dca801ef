"""The layers and the forbidden imports: kept by the code, and each contract notices the import that it forbids."""

import copy
import sys
from typing import Any

import grimp
import pytest
from grimp import ImportGraph
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

TYPES: dict[str, type[Contract]] = {
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}
CONFIGURATION = read_configuration()
OPTIONS: dict[str, dict[str, Any]] = {options["id"]: options for options in CONFIGURATION["contracts_options"]}


@pytest.fixture(scope="module")
def imports() -> ImportGraph:
    roots = CONFIGURATION["session_options"]["root_packages"]
    return grimp.build_graph(*roots, include_external_packages=True, cache_dir=None)


def is_kept(contract_id: str, imports: ImportGraph) -> bool:
    options = OPTIONS[contract_id]
    contract = TYPES[options["type"]](options["name"], CONFIGURATION["session_options"], options)
    return contract.check(copy.deepcopy(imports), verbose=False).kept


@pytest.mark.parametrize("contract_id", OPTIONS)
def test_the_code_keeps_the_contract(imports: ImportGraph, contract_id: str) -> None:
    assert is_kept(contract_id, imports)


FORBIDDEN = {
    "layers-of-django": [
        ("todos.models", "todos.ledger.leases"),
        ("todos.ledger.leases", "todos.ingest.store"),
        ("todos.ingest.store", "todos.operations.audit"),
        ("todos.operations.audit", "todos.receipts.lookup"),
        ("todos.monitoring.overview", "todos.api.problems"),
        ("todos.api.problems", "todos.tokens.issue"),
        ("todos.tasks", "todos.admin"),
        ("todos.admin", "todoproject.settings"),
    ],
    "layers-of-the-edge": [
        ("edge_api.shared.env", "edge_api.contract"),
        ("edge_api.settings", "edge_api.problems"),
        ("edge_api.problems", "edge_api.publishing.batcher"),
        ("edge_api.publishing.batcher", "edge_api.http.todos"),
        ("edge_api.publishing.batcher", "edge_api.limits.rate_limit"),
        ("edge_api.http.todos", "edge_api.main"),
    ],
    "edge-without-django": [
        ("edge_api.main", name)
        for name in ("todos.models", "todoproject.settings", "django", "rest_framework", "celery", "psycopg2")
    ],
    "consumer-without-fastapi": [
        (package, name)
        for package in ("todos.tasks", "todoproject.urls")
        for name in ("fastapi", "starlette", "edge_api", "edge_api.settings")
    ],
    "contract-stands-alone": [
        ("edge_api.contract.events", name) for name in ("fastapi", "kafka", "edge_api.shared.env", "edge_api.settings")
    ],
    "edge-package-is-empty": [("edge_api", "uvicorn"), ("edge_api", "edge_api.settings")],
    "ingest-without-kafka": [
        ("todos.ingest.consumer", "kafka"),
        ("todos.ingest.store", "celery"),
        ("todos.models", "todos.kafka.consumer"),
        ("todos.ledger.leases", "todos.kafka.consumer"),  # by a detour
    ],
    "imports-without-database": [
        ("todos.transfer.imports.run", name) for name in ("todos.models", "django", "todos.kafka.consumer")
    ],
    "one-door-to-kafka": [
        (importer, name)
        for importer in ("todos.tasks", "edge_api.main", "edge_api.contract.events", "benchmarks.drain")
        for name in ("kafka", "aiokafka", "confluent_kafka")
    ],
    "one-door-to-traces": [
        (importer, "opentelemetry") for importer in ("todos.tasks", "todoproject.urls", "edge_api.main")
    ],
    "product-without-tools": [
        (importer, name)
        for importer in ("edge_api.main", "todos.tasks", "todoproject.urls")
        for name in ("tests", "benchmarks", "devstack")
    ],
    "baselines-stand-alone": [
        ("benchmarks.baselines.confluent_consumer", name)
        for name in ("edge_api.settings", "todos.ingest.store", "todos.tasks")
    ],
    "light-load-client": [("benchmarks.client", name) for name in ("pydantic", "devstack", "benchmarks.world")],
}


def test_each_contract_has_an_import_that_it_forbids() -> None:
    assert FORBIDDEN.keys() == OPTIONS.keys()


@pytest.mark.parametrize(
    ("contract_id", "importer", "imported"),
    [(contract_id, *pair) for contract_id, pairs in FORBIDDEN.items() for pair in pairs],
)
def test_a_forbidden_import_breaks_its_contract(
    imports: ImportGraph, contract_id: str, importer: str, imported: str
) -> None:
    drawn = copy.deepcopy(imports)
    for module in (importer, imported):
        if module not in drawn.modules:  # a package that nothing imports, or one from outside
            drawn.add_module(
                module, is_squashed=module.split(".")[0] not in CONFIGURATION["session_options"]["root_packages"]
            )
    drawn.add_import(importer=importer, imported=imported)

    assert not is_kept(contract_id, drawn)


def foreign(modules: set[str], imports: ImportGraph) -> set[str]:
    """Return the packages outside the standard library that the modules import, less the modules themselves."""
    imported = set().union(*map(imports.find_modules_directly_imported_by, modules))
    return {name.split(".")[0] for name in imported - modules} - sys.stdlib_module_names


def test_the_contract_imports_pydantic_only_and_for_tokens_pyjwt(imports: ImportGraph) -> None:
    modules = {"edge_api.contract", *imports.find_descendants("edge_api.contract")}

    assert foreign(modules, imports) == {"pydantic", "pydantic_core", "jwt", "cryptography"}
    assert foreign(modules - {"edge_api.contract.tokens"}, imports) == {"pydantic", "pydantic_core"}
