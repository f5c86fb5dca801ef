"""Numbers and times as people read them."""

UNITS = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]


def number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def count(value: float | None, one: str, many: str = "") -> str:
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """The two largest units at most: 3 min 20 s. Below 10 seconds with one decimal, below one in milliseconds."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    place = next(place for place, (_, size) in enumerate(UNITS) if whole >= size)
    (unit, size), *smaller = UNITS[place : place + 2]
    count, rest = divmod(whole, size)
    words = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{words} {rest // smaller[0][1]} {smaller[0][0]}" if smaller and rest // smaller[0][1] else words
