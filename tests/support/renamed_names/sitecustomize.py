"""With this folder on PYTHONPATH a process finds other names in a library, as a later version might have them.

RENAMED=kafka:_fetcher,_tp_lock: everywhere in the package kafka these two names are called something else.
"""

import importlib.abc
import importlib.machinery
import os
import re
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

_package, _, _names = os.environ["RENAMED"].partition(":")
_PATTERN = re.compile(rf"\b({_names.replace(',', '|')})\b")


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        source, count = _PATTERN.subn(r"\1_of_later", self.get_data(self.path).decode())
        return compile(source, self.path, "exec") if count else super().get_code(fullname)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(_package):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
