"""CSV text as a table that is read row by row, as often as needed. Rows count from 1, the header is none of them.

Invariant: reading never fails on what stands in the text; what does not fit is told in `Table.errors`: a short row is
filled with empty cells, a long one is cut, a stray quote is read as it stands, a record that never ends is left out.
Functions here run in worker threads of trio: between rows they look whether the call was cancelled.
"""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import trio

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_plugins.tools.utility.wording import joined, lines

__all__ = ["Reading", "Table", "decoded", "opened", "written"]

_DELIMITERS = ",;\t|"
_SNIFFED_LINES = 100
_LONGEST_LINE = 1024 * 1024
_MOST_ERRORS = 1000
_HALF = re.compile("[\ud800-\udfff]")
_ROW_CELLS = 2048
"""After so many cells it is looked whether the call was cancelled."""
_PIECE_BYTES = 1_000_000
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: what is None is found out.

    Attributes:
        delimiter: One character.
        encoding: Of a file.
        has_headers: Whether the first row names the columns; else they are column_1, column_2 ...
        null_values: Cells that count as empty, beside the blank ones.
    """

    delimiter: str | None = None
    encoding: str | None = None
    has_headers: bool = True
    null_values: frozenset[str] = frozenset()


@dataclass(slots=True)
class Table:
    """A table; the rows are parsed anew each time they are asked for.

    Attributes:
        names: The columns' names, each different.
        errors: What did not fit, as far as the last reading got.
    """

    names: list[str]
    delimiter: str
    encoding: str
    reading: Reading
    size_bytes: int
    text: str
    errors: list[dict[str, object]] = field(default_factory=list)
    _untold: int = 0

    def rows(self) -> Iterator[list[str]]:
        """Yield each row, with as many cells as there are columns."""
        self.errors, self._untold = [], 0
        records = self._records()
        if self.reading.has_headers:
            next(records, None)
        width, row = len(self.names), max(1, _ROW_CELLS // (len(self.names) + 1))
        for number, record in enumerate(records, 1):
            if number % row == 0:
                trio.from_thread.check_cancelled()
            if len(record) != width:
                self._tell(f"it has {len(record)} cells, the table {width} columns", row=number)
                record = record[:width] + [""] * (width - len(record))
            yield record

    def is_null(self, cell: str) -> bool:
        """Whether the cell counts as empty."""
        return not cell or cell.isspace() or cell in self.reading.null_values

    def index(self, name: str, where: str) -> int:
        """Return which column has the name.

        Raises:
            ToolError: None has (``invalid_input``).
        """
        if name not in self.names:
            known = ", ".join(self.names[:50]) or "none"
            what = f"csv_analyzer: {where}: there is no column {name!r}; columns are {known}"
            raise ToolError(what, code="invalid_input")
        return self.names.index(name)

    def told(self) -> list[dict[str, object]]:
        """Return the errors; past a thousand only how many more."""
        return [*self.errors, {"error": f"and {self._untold} more"}] if self._untold else list(self.errors)

    def _records(self) -> Iterator[list[str]]:
        """Yield what stands between line ends, blank lines left out."""
        csv.field_size_limit(sys.maxsize)  # of the whole process; the text as a whole has a limit of ours
        source = _Source(self.text)
        reader = csv.reader(source, delimiter=self.delimiter, strict=True)
        while True:
            source.taken.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._tell(line_of_error(error), line=source.number - len(source.taken) + 1)
                if "expected after" not in str(error):
                    continue
                record = next(csv.reader(source.taken, delimiter=self.delimiter), [])
            if record:
                yield record

    def _tell(self, error: str, **where: int) -> None:
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append({**where, "error": error})
        else:
            self._untold += 1


class _Source:
    """The lines of a text, with those taken since last asked."""

    def __init__(self, text: str) -> None:
        self.number = 0
        self.taken: list[str] = []
        self._lines = lines(text)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if len(line) > _LONGEST_LINE:
            what = f"csv_analyzer: input: line {self.number} is longer than {_LONGEST_LINE} characters; break it"
            raise ToolError(what, code="limit_exceeded")
        self.taken.append(line)
        return line


def opened(text: str, reading: Reading, encoding: str = "utf-8", size_bytes: int | None = None) -> Table:
    """Return the table that a text holds."""
    text = _whole(text.removeprefix("\ufeff"))
    delimiter = reading.delimiter or _sniffed(text)
    size_bytes = _utf8_size(text) if size_bytes is None else size_bytes
    table = Table([], delimiter, encoding, reading, size_bytes, text)
    first = next(table._records(), [])
    table.names = _names(first if reading.has_headers else [""] * len(first))
    return table


def decoded(data: bytes, encoding: str | None) -> tuple[str, str]:
    """Return a file's text and its encoding: by byte order mark, else UTF-8 if it fits, else Windows-1252.

    Raises:
        ToolError: The encoding is unknown, or the file is not in it (``invalid_input``).
    """
    if encoding is None:
        encoding = next((name for mark, name in _BOMS if data.startswith(mark)), None) or "utf-8"
        try:
            return _text(data, encoding), encoding
        except UnicodeDecodeError:
            return _text(data, "windows-1252", errors="replace"), "windows-1252"
    try:
        return _text(data, encoding), encoding
    except (LookupError, ValueError) as error:  # of a name with a NUL in it the codecs say ValueError
        what = f"csv_analyzer: options.encoding: {line_of_error(error)}; give the file's encoding, or leave it out"
        raise ToolError(what, code="invalid_input") from None


def _text(data: bytes, encoding: str, errors: str = "strict") -> str:
    """Decode step by step; the two codecs for names of hosts take time in proportion to the square."""
    if codecs.lookup(encoding).name in ("idna", "punycode"):
        raise LookupError(f"{encoding} is no encoding of files")
    " ".encode(encoding)  # refuses what encodes no text, such as hex
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    pieces = [data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES)]
    return "".join(decoder.decode(piece) for piece in pieces) + decoder.decode(b"", final=True)


def written(names: Sequence[str] | None, rows: Iterable[Sequence[str]], delimiter: str) -> str:
    """Return rows as CSV, lines ending in LF, below their names unless these are None."""
    echo = csv.writer(_Echo(), delimiter=delimiter, lineterminator="\r\n")
    every = rows if names is None else (row for part in ([names] if names else [], rows) for row in part)
    # The writer is told CR LF so that it quotes both; it answers what its file's write answers.
    return joined("", (f"{str(echo.writerow(row))[:-2]}\n" for row in every))


class _Echo:
    def write(self, text: str) -> str:
        return text


def _sniffed(text: str) -> str:
    """Return the delimiter that cuts most of the first rows into the same number of cells; a comma if none does."""
    sample = [line[:10_000] for line in islice(lines(text), _SNIFFED_LINES) if line.strip()]
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths = Counter(len(row) for row in _leniently(sample, delimiter) if row)
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        score = (count / sum(widths.values()), width) if width > 1 else (0.0, 0)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _leniently(sample: list[str], delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(sample, delimiter=delimiter)
    try:
        yield from reader
    except csv.Error:
        return


def _names(header: list[str]) -> list[str]:
    """Return the names stripped; what is blank or there twice gets a number."""
    names: dict[str, None] = {}
    given = {cell.strip() for cell in header}
    last: Counter[str] = Counter()
    for index, cell in enumerate(header, 1):
        stem = cell.strip() or f"column_{index}"
        name = stem
        while name in names or (name in given and name != cell.strip()):
            last[stem] += 1
            name = f"{stem}_{last[stem] + 1}"
        names[name] = None
    return list(names)


def _whole(text: str) -> str:
    """Return the text with a stand-in for each half of a letter, which no format that it is written in takes."""
    if text.isascii():
        return text
    pieces = (text[start : start + _PIECE_BYTES] for start in range(0, len(text), _PIECE_BYTES))
    return "".join(_HALF.sub("?", piece) for piece in pieces)


def _utf8_size(text: str) -> int:
    if text.isascii():
        return len(text)
    step = 1_000_000
    return sum(len(text[start : start + step].encode(errors="replace")) for start in range(0, len(text), step))
