"""Numbers, times and bars for the operators' pages."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from todos.pipeline import words
from todos.pipeline.history import Series

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
    return max(series.stored)


@register.filter
def total(series: Series) -> int:
    return sum(series.stored)


@register.simple_tag
def bars(series: Series, label: str) -> SafeString:
    """An SVG as wide as its place. Each column tells its period and number, the last one is still running."""
    top = max(series.stored) or 1
    columns = []
    for place, stored in enumerate(series.stored):
        start = timezone.localtime(series.start + place * series.width)
        height = max(stored / top * HEIGHT, 1.5 if stored else 0)
        hit = (place * STEP, STEP, HEIGHT, f"{start:%H:%M}", words.number(stored))
        columns.append((*hit, place * STEP + 1, f"{HEIGHT - height:.1f}", BAR, f"{height:.1f}"))
    body = format_html_join(
        "",
        '<g><rect class="hit" x="{}" y="0" width="{}" height="{}"><title>{}: {}</title></rect>'
        '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/></g>',
        columns,
    )
    return format_html(
        '<svg class="todo-bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        STEP * len(series.stored), HEIGHT, label, body,
    )  # fmt: skip
