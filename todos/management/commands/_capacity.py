"""How capacity shows a plan: a table for people, one object for scripts."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.table import Table

from todos.capacity.costs import Results
from todos.capacity.plan import Plan, Wanted

PIPE_WIDTH = 160


def as_json(results: Results, wanted: Wanted, plan: Plan) -> dict[str, Any]:
    return {
        "results": str(results.path),
        "measured": results.measured,
        "machine": results.machine,
        "wanted": wanted._asdict(),
        "needs": [need._asdict() for need in plan.needs],
        "limits": [limit._asdict() for limit in plan.limits],
    }


def as_text(results: Results, wanted: Wanted, plan: Plan) -> str:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    with console.capture() as text:
        console.print(Group(_needs(wanted, plan), _limits(wanted, plan)))
        console.print(f"Costs: {results.path.name}, measured {results.measured} on {results.machine}.", highlight=False)
    return text.get()


def _needs(wanted: Wanted, plan: Plan) -> Table:
    kind = "in batches" if wanted.batch else "one by one"
    table = Table(box=SIMPLE, title=f"{wanted.todos_per_second:,.0f} todos a second, {kind}")
    table.add_column("needs")
    table.add_column("", justify="right")
    table.add_column("reckoned as")
    for need in plan.needs:
        table.add_row(need.name, f"{number(need.amount)} {need.unit}".strip(), need.how)
    return table


def _limits(wanted: Wanted, plan: Plan) -> Table:
    table = Table(box=SIMPLE, title="what breaks first, as everything is delivered")
    table.add_column("todos a second", justify="right")
    table.add_column("limit")
    table.add_column("then")
    table.add_column("")
    for limit in plan.limits:
        table.add_row(number(limit.at), limit.name, limit.then, "beyond it" if _is_beyond(wanted, limit.at) else "")
    return table


def _is_beyond(wanted: Wanted, at: float) -> bool:
    return wanted.todos_per_second > at


def number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.2g}"
