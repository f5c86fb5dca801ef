"""Check haproxy.cfg, which compose and Kubernetes share: the paths that it serves to clients, and the bounds on bodies.

The tests run it for real: tests/integration/test_haproxy.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

import todoproject  # noqa: F401 - it tells Django where the settings are
from edge_api.contract import MAX_BATCH_BYTES

CONFIG = Path(__file__).parent / "k8s" / "haproxy.cfg"
# The largest body that each side takes, in bytes.
MAX_BODY = {"edge": MAX_BATCH_BYTES, "web": settings.DATA_UPLOAD_MAX_MEMORY_SIZE}
# They tell how the service is doing. Prometheus, probes and operators ask the processes themselves.
OPERATOR_PATHS = ("/metrics", "/readyz", "/readyz/pipeline")


def complaints(config: Path) -> Iterator[str]:
    """Yield what is wrong with the configuration."""
    text = config.read_text()
    for side, largest in MAX_BODY.items():
        for path in OPERATOR_PATHS:
            if serves(text, side, path):
                yield f"haproxy.cfg serves {path} of {side}, which is for operators only"
        if f" 413 if {side}_port {{ req.body_size gt {largest} }}\n" not in text:
            yield f"haproxy.cfg must refuse bodies of more than {largest} bytes to {side}, which takes no larger ones"


def serves(text: str, side: str, path: str) -> bool:
    """Return whether the lists of paths let `path` pass to the edge or to web."""
    lists = re.findall(rf"^ *acl {side}_path (path|path_beg) (.+)$", text, re.MULTILINE)
    return any(
        path == word if kind == "path" else path.startswith(word) for kind, words in lists for word in words.split()
    )


def variables(config: Path = CONFIG) -> set[str]:
    """Return the names of the variables that the configuration reads."""
    return set(re.findall(r"\$\{(\w+)", config.read_text()))
