"""The lines of a file as they stand in it, whatever their bytes are, in constant memory."""

from collections import deque
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

MAX_LINE_BYTES = 1 << 20
SHOWN_BYTES = 65_536  # of a line that is longer than that
BOM = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """How many lines and bytes of the file lie before it."""

    lines: int = 0
    bytes: int = 0


class PhysicalLine(NamedTuple):
    """With its end of line; of a line that is too long, `data` is only the beginning."""

    data: bytes
    size: int
    too_long: bool = False

    @property
    def text(self) -> str:
        """Bytes that are not UTF-8 are lone surrogates, which nothing else in a file can be."""
        return self.data.decode(errors="surrogateescape")


class PhysicalLines:
    """`place` is behind the lines that were taken and not given back."""

    def __init__(self, file: BinaryIO) -> None:
        self.place = Place()
        self._file = file
        self._given_back: deque[PhysicalLine] = deque()

    def seek(self, place: Place) -> None:
        self._given_back.clear()
        self._file.seek(place.bytes)
        self.place = place

    def take(self) -> PhysicalLine | None:
        """None at the end."""
        line = self._given_back.popleft() if self._given_back else self._read()
        if line is not None:
            self.place = Place(self.place.lines + 1, self.place.bytes + line.size)
        return line

    def give_back(self, lines: Sequence[PhysicalLine]) -> None:
        self._given_back.extendleft(reversed(lines))
        size = sum(line.size for line in lines)
        self.place = Place(self.place.lines - len(lines), self.place.bytes - size)

    def _read(self) -> PhysicalLine | None:
        data = self._file.readline(MAX_LINE_BYTES)
        if not data:
            return None
        size = len(data)
        if too_long := size == MAX_LINE_BYTES and not data.endswith(b"\n"):
            size += self._skip_line()
            data = data[:SHOWN_BYTES]
        return PhysicalLine(data.removeprefix(BOM) if self.place.bytes == 0 else data, size, too_long)

    def _skip_line(self) -> int:
        size = 0
        while rest := self._file.readline(MAX_LINE_BYTES):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        return size
