"""docs/examples/client.py, which is no package, as a module."""

import importlib.util
import sys
from types import ModuleType

from devstack.environment import ROOT


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_client", ROOT / "docs" / "examples" / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


example = _load()
