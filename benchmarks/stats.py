"""Small arithmetic."""

from collections.abc import Sequence


def growth_percent(sizes: Sequence[float]) -> float:
    """The crest of the last third above that of the third before; 0 for fewer than three.

    Crests, because the size goes up and down with every batch. The first third is for imports, connections, buffers.
    """
    third = len(sizes) // 3
    return (max(sizes[2 * third :]) / max(sizes[third : 2 * third]) - 1) * 100 if third else 0.0


def serial_limit(*rates: float) -> float:
    """The rate of doing one after the other."""
    return 1 / sum(1 / rate for rate in rates)
