"""Numbers and times as people read them."""

UNITS = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]


def format_number(value: float | None) -> str:
    """Format with a comma for each thousand; None is unknown, a question mark."""
    return "?" if value is None else f"{value:,.0f}"


def format_count(value: float | None, singular: str, plural: str = "") -> str:
    """Format a number with its noun; `plural` defaults to the singular with an s."""
    return f"{format_number(value)} {singular if value == 1 else plural or singular + 's'}"


def format_duration(seconds: float | None) -> str:
    """Format with the two largest units at most, like 3 min 20 s; None is a dash.

    Durations below 10 seconds have one decimal, those below one second are in milliseconds.
    """
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    index = next(index for index, (_, size) in enumerate(UNITS) if whole >= size)
    (unit, size), *smaller = UNITS[index : index + 2]
    amount, rest = divmod(whole, size)
    text = f"{amount} {unit}{'s' if unit == 'day' and amount > 1 else ''}"
    return f"{text} {rest // smaller[0][1]} {smaller[0][0]}" if smaller and rest // smaller[0][1] else text
