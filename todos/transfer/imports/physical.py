"""The physical lines of a file of any bytes, in constant memory."""

from collections import deque
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

MAX_LINE_BYTES = 1 << 20
SHOWN_BYTES = 65_536  # of a line that is longer than MAX_LINE_BYTES
BOM = b"\xef\xbb\xbf"


class FilePosition(NamedTuple):
    """A position between two lines: the number of lines and of bytes before it."""

    lines: int = 0
    bytes: int = 0


class PhysicalLine(NamedTuple):
    """A line with its end of line. If it is too long, `data` holds only its first SHOWN_BYTES."""

    data: bytes
    size: int
    too_long: bool = False

    @property
    def text(self) -> str:
        """The line as text; bytes that are not UTF-8 become lone surrogates, which UTF-8 cannot contain."""
        return self.data.decode(errors="surrogateescape")


class PhysicalLines:
    """Reads a file line by line, and takes lines back. `position` is after the lines that were taken and kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.position = FilePosition()
        self._file = file
        self._given_back: deque[PhysicalLine] = deque()

    def seek(self, position: FilePosition) -> None:
        """Continue at a position of this file."""
        self._given_back.clear()
        self._file.seek(position.bytes)
        self.position = position

    def take(self) -> PhysicalLine | None:
        """Return the next line, or None at the end of the file."""
        line = self._given_back.popleft() if self._given_back else self._read()
        if line is not None:
            self.position = FilePosition(self.position.lines + 1, self.position.bytes + line.size)
        return line

    def give_back(self, lines: Sequence[PhysicalLine]) -> None:
        """Put back the lines that were taken last, so that they are taken again in the same order."""
        self._given_back.extendleft(reversed(lines))
        size = sum(line.size for line in lines)
        self.position = FilePosition(self.position.lines - len(lines), self.position.bytes - size)

    def _read(self) -> PhysicalLine | None:
        data = self._file.readline(MAX_LINE_BYTES)
        if not data:
            return None
        size = len(data)
        if too_long := size == MAX_LINE_BYTES and not data.endswith(b"\n"):
            size += self._skip_line()
            data = data[:SHOWN_BYTES]
        return PhysicalLine(data.removeprefix(BOM) if self.position.bytes == 0 else data, size, too_long)

    def _skip_line(self) -> int:
        size = 0
        while rest := self._file.readline(MAX_LINE_BYTES):
            size += len(rest)
            if rest.endswith(b"\n"):
                break
        return size
