"""Numbers, times and bars for the operators' pages."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from todos.monitoring import formatting as words
from todos.monitoring.queries import Series

register = template.Library()
register.filter("number", words.number)
register.filter("duration", words.duration)

HEIGHT, STEP, BAR = 100, 10, 8


@register.filter
def ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    seconds = (timezone.now() - moment).total_seconds()
    return "now" if seconds < 1 else f"{words.duration(int(seconds))} ago"


@register.filter
def about(value: float) -> str:
    """Three digits that count."""
    return words.number(float(f"{value:.3g}"))


@register.filter
def minus(number: float, less: float) -> float:
    return number - less


@register.filter
def percent_of(part: float | None, whole: float | None) -> str:
    """For a width in CSS."""
    return f"{min(100 * part / whole, 100):.1f}" if part and whole and part > 0 else "0"


@register.filter
def highest(series: Series) -> int:
    return max(series.counts)


@register.filter
def total(series: Series | None) -> int:
    return sum(series.counts) if series else 0


@register.simple_tag
def bars(stored: Series, accepted: Series | None, label: str) -> SafeString:
    """An SVG as wide as its place: bars, and accepted as a line over them where it is known.

    Each column tells its period and numbers, the last one is still running.
    """
    known = _by_period(accepted) if accepted else {}
    starts = [stored.start + place * stored.width for place in range(len(stored.counts))]
    lines = [known.get(start) for start in starts]
    top = max(*stored.counts, *(count or 0 for count in lines)) or 1
    columns = []
    for place, (start, count, line) in enumerate(zip(starts, stored.counts, lines, strict=True)):
        height = _height(count, top)
        said = f"{timezone.localtime(start):%H:%M}: {words.number(count)} stored"
        if line is not None:
            said += f", {words.number(line)} accepted"
        hit = (place * STEP, STEP, HEIGHT, said)
        columns.append((*hit, place * STEP + 1, f"{HEIGHT - height:.1f}", BAR, f"{height:.1f}"))
    body = format_html_join(
        "",
        '<g><rect class="hit" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>'
        '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/></g>',
        columns,
    )
    return format_html(
        '<svg class="todo-bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>',
        STEP * len(starts), HEIGHT, label, body, _steps(lines, top),
    )  # fmt: skip


def _by_period(series: Series) -> dict[datetime, int]:
    return {series.start + place * series.width: count for place, count in enumerate(series.counts)}


def _height(count: int, top: int) -> float:
    return max(count / top * HEIGHT, 1.5 if count else 0)


def _steps(counts: list[int | None], top: int) -> SafeString:
    """As long as each period, with gaps where nothing is known."""
    moves, is_down = [], False
    for place, count in enumerate(counts):
        if count is not None:
            y = f"{HEIGHT - _height(count, top):.1f}"
            moves.append(f"{'L' if is_down else 'M'}{place * STEP} {y}H{(place + 1) * STEP}")
        is_down = count is not None
    return format_html('<path class="line" d="{}"/>', "".join(moves))
