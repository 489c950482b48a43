"""Server-sent events: name and data of each event of a stream, however the network cut it.

Source: the HTML standard, "server-sent events". Sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventStream"]

_LONGEST = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class EventStream:
    """Reads events; a stream has one.

    Args:
        bare: The name of an event that counts without data, too; the standard lets such events fall.
    """

    def __init__(self, bare: bytes = b"") -> None:
        self._bare = bare
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._name = b""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._first = True

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield name and data of each event that this piece completes.

        Raises:
            ValueError: A line, or the lines of one event together, are longer than any event is.
        """
        if b"\n" not in piece and b"\r" not in piece:
            self._keep(piece)
            return
        self._begun.append(piece)
        lines = b"".join(self._begun).splitlines(keepends=True)
        self._begun, self._begun_bytes = [], 0
        # A line that ends in a carriage return may go on with the line feed that belongs to it.
        if not lines[-1].endswith(b"\n"):
            self._keep(lines.pop())
        for line in lines:
            if (event := self._line(line)) is not None:
                yield event

    def end(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the last event, if the stream ended without the empty line behind it."""
        for line in (*b"".join(self._begun).splitlines(), b""):
            if (event := self._line(line)) is not None:
                yield event

    def _keep(self, piece: bytes) -> None:
        self._begun.append(piece)
        self._begun_bytes += len(piece)
        if self._begun_bytes > _LONGEST:
            raise ValueError(f"a line of its stream is longer than {_LONGEST} bytes")

    def _line(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The event that this line ends."""
        line = line.rstrip(b"\r\n")
        if self._first:
            self._first, line = False, line.removeprefix(_BOM)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(line)
            if self._data_bytes > _LONGEST:
                raise ValueError(f"an event of its stream is longer than {_LONGEST} bytes")
        elif field == b"error":  # llama.cpp has it in place of data
            self._name, self._data = b"error", [value]
        elif field == b"event":
            self._name = value.strip()
        elif not line:
            name, data = self._name, self._data
            self._name, self._data, self._data_bytes = b"", [], 0
            counts = data or (name and name == self._bare)
            return (name, data[0] if len(data) == 1 else b"\n".join(data)) if counts else None
        return None
