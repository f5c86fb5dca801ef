"""Numbers, times and bar charts for the operators' pages."""

from datetime import datetime
from itertools import pairwise

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from todos.monitoring.formatting import format_duration, format_number
from todos.monitoring.queries import Series

register = template.Library()
register.filter("number", format_number)
register.filter("duration", format_duration)

# In units of the SVG, which stretches to the width of its place.
HEIGHT, COLUMN_WIDTH, BAR_WIDTH = 100, 10, 8
MIN_BAR_HEIGHT = 1.5  # a period with a single todo is still visible


@register.filter
def ago(moment: datetime | None) -> str:
    """Format how long ago a moment was."""
    if moment is None:
        return "never"
    seconds = (timezone.now() - moment).total_seconds()
    return "now" if seconds < 1 else f"{format_duration(int(seconds))} ago"


@register.filter
def about(value: float) -> str:
    """Format a number rounded to three significant digits."""
    return format_number(float(f"{value:.3g}"))


@register.filter
def minus(number: float, subtrahend: float) -> float:
    """Subtract."""
    return number - subtrahend


@register.filter
def percent_of(part: float | None, whole: float | None) -> str:
    """Format a share as a percentage for a width in CSS, 100 at most."""
    return f"{min(100 * part / whole, 100):.1f}" if part and whole and part > 0 else "0"


@register.filter
def highest(series: Series) -> int:
    """Return the highest count of a series."""
    return max(series.counts)


@register.filter
def total(series: Series | None) -> int:
    """Return the sum of a series; 0 without one."""
    return sum(series.counts) if series else 0


@register.simple_tag
def bars(stored: Series, accepted: Series | None, label: str) -> SafeString:
    """Draw an SVG bar chart of what was stored, with what was accepted as a line over it where that is known.

    The title of each column names its period and its numbers. The last period is still running.
    """
    starts = [stored.start + index * stored.width for index in range(len(stored.counts))]
    accepted_by_start = _counts_by_start(accepted) if accepted else {}
    accepted_counts = [accepted_by_start.get(start) for start in starts]
    top = max(*stored.counts, *(count or 0 for count in accepted_counts)) or 1
    columns = []
    for index, (start, count, accepted_count) in enumerate(zip(starts, stored.counts, accepted_counts, strict=True)):
        title = f"{timezone.localtime(start):%H:%M}: {format_number(count)} stored"
        if accepted_count is not None:
            title += f", {format_number(accepted_count)} accepted"
        x, height = index * COLUMN_WIDTH, _height(count, top)
        hover_area = (x, COLUMN_WIDTH, HEIGHT, title)
        columns.append((*hover_area, x + 1, f"{HEIGHT - height:.1f}", BAR_WIDTH, f"{height:.1f}"))
    body = format_html_join(
        "",
        '<g><rect class="hit" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>'
        '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/></g>',
        columns,
    )
    return format_html(
        '<svg class="todo-bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>',
        COLUMN_WIDTH * len(starts), HEIGHT, label, body, _step_line(accepted_counts, top),
    )  # fmt: skip


def _counts_by_start(series: Series) -> dict[datetime, int]:
    return {series.start + index * series.width: count for index, count in enumerate(series.counts)}


def _height(count: int, top: int) -> float:
    return max(count / top * HEIGHT, MIN_BAR_HEIGHT if count else 0)


def _step_line(counts: list[int | None], top: int) -> SafeString:
    """Draw a horizontal line for each period, with gaps where the count is unknown."""
    moves = []
    for index, (previous, count) in enumerate(pairwise([None, *counts])):
        if count is not None:
            y = f"{HEIGHT - _height(count, top):.1f}"
            command = "M" if previous is None else "L"
            moves.append(f"{command}{index * COLUMN_WIDTH} {y}H{(index + 1) * COLUMN_WIDTH}")
    return format_html('<path class="line" d="{}"/>', "".join(moves))
