"""What the csv_analyzer does with rows: keep some, compute columns, judge cells. All of it runs in worker threads."""

from __future__ import annotations

import math
import operator
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from llmspell_hookspecs import ToolError
from llmspell_plugins.tools.utility.expression import Expression

from .csv_columns import number
from .csv_table import Table

__all__ = ["filtered", "sampled", "transformed", "violations"]

_CONDITION = re.compile(r"\s*+(?:`([^`]+)`|\"([^\"]+)\"|([^=!<>]++))\s*(==|!=|>=|<=|>|<)(.*)", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_RANGE = re.compile(r"range:\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*-\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*")
_MOST_VIOLATIONS = 1000


def filtered(table: Table, condition: str) -> Iterator[list[str]]:
    """Yield the rows that fit ``column operator value``.

    A number is compared with cells that are numbers, anything else, and what stands in quotes, with cells as they
    stand. An empty cell fits only ``!=`` and ``== ""``. A column's name may stand in backticks or quotes.

    Raises:
        ToolError: The condition has another form, or there is no such column (``invalid_input``).
    """
    match = _CONDITION.fullmatch(condition)
    if match is None:
        what = f"csv_analyzer: options.filter: {condition[:80]!r} is no condition; write 'column > value'"
        raise ToolError(f"{what}, with one of {' '.join(_OPERATORS)}", code="invalid_input")
    quoted, doubly, bare, symbol, value = match.groups()
    index = table.index(quoted or doubly or bare.strip(), "options.filter")
    fits = _test(table, symbol, value.strip())
    return (row for row in table.rows() if fits(row[index]))


def _test(table: Table, symbol: str, value: str) -> Callable[[str], bool]:
    compare = _OPERATORS[symbol]
    limit = number(value)
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value, limit = value[1:-1], None

    def fits(cell: str) -> bool:
        if table.is_null(cell):
            return symbol == "!=" if value else symbol == "=="
        if limit is None:
            return compare(cell.strip(), value)
        found = number(cell)
        return symbol == "!=" if found is None else compare(found, limit)

    return fits


def sampled(table: Table, size: int, method: str, seed: int) -> Iterable[list[str]]:
    """Yield the first rows, or some by chance (the same for the same seed), in their order."""
    if method == "head":
        return islice(table.rows(), size)
    count = sum(1 for _ in table.rows())
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    chosen = set(chance.sample(range(count), min(size, count)))
    return (row for index, row in enumerate(table.rows()) if index in chosen)


def transformed(
    table: Table, added: Mapping[str, str], renamed: Mapping[str, str]
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names and rows with computed columns at the end, then renamed.

    An expression names columns by their old names; where one of those cells is empty, so is the result.

    Raises:
        ToolError: An expression or a name is wrong, or (while the rows are read) a cell holds no number.
    """
    computed = [_computed(table, name, text) for name, text in added.items()]
    names = [*table.names, *added]
    for old, new in renamed.items():
        if old not in names:
            table.index(old, "options.rename_columns")
        names[names.index(old)] = new
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = f"csv_analyzer: options: two columns would be called {twice[0]!r}; give one another name"
        raise ToolError(what, code="invalid_input")
    return names, ([*row, *(compute(at, row) for compute in computed)] for at, row in enumerate(table.rows(), 1))


def _computed(table: Table, name: str, text: str) -> Callable[[int, list[str]], str]:
    where = f"options.add_columns.{name}"
    with _blamed(where):
        expression = Expression(text)
    indices = [table.index(column, where) for column in expression.names]

    def compute(at: int, row: list[str]) -> str:
        values: dict[str, float] = {}
        for column, index in zip(expression.names, indices, strict=True):
            if table.is_null(row[index]):
                return ""
            found = number(row[index])
            if found is None:
                what = f"csv_analyzer: {where}: row {at} has {row[index][:50]!r} in {column}; it needs a number"
                raise ToolError(what, code="invalid_input")
            values[column] = found
        with _blamed(where):
            return _shown(expression.evaluate(values))

    return compute


@contextmanager
def _blamed(where: str) -> Iterator[None]:
    """Say in an expression's error which option holds it."""
    try:
        yield
    except ToolError as error:
        raise ToolError(str(error).replace("expression:", f"csv_analyzer: {where}:", 1), code=error.code) from None


def _shown(value: float) -> str:
    if math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


def violations(table: Table, rules: Mapping[str, str]) -> dict[str, Any]:
    """Return ``{valid, errors: [{row, column, value, error}], total_rows, error_count}``, with the first 1000 errors.

    Raises:
        ToolError: A rule is neither ``email`` nor ``range:a-b``, or there is no such column (``invalid_input``).
    """
    judges = [(name, table.index(name, "options.rules"), _judge(name, rule)) for name, rule in rules.items()]
    errors: list[dict[str, Any]] = []
    total = count = 0
    for total, row in enumerate(table.rows(), 1):
        for name, index, judge in judges:
            wrong = judge(row[index].strip())
            if wrong:
                count += 1
                if count <= _MOST_VIOLATIONS:
                    errors.append({"row": total, "column": name, "value": row[index][:200], "error": wrong})
    return {"valid": not count, "errors": errors, "total_rows": total, "error_count": count}


def _judge(name: str, rule: str) -> Callable[[str], str]:
    """Return what says of a cell why it breaks the rule, or nothing."""
    if rule.strip() == "email":
        return lambda cell: "" if _EMAIL.fullmatch(cell) else "it is no e-mail address"
    match = _RANGE.fullmatch(rule)
    least, greatest = map(number, match.groups()) if match else (None, None)
    if least is None or greatest is None or least > greatest:
        what = f"csv_analyzer: options.rules.{name}: {rule!r} is no rule; write 'email' or 'range:0-100'"
        raise ToolError(what, code="invalid_input")

    def within(cell: str) -> str:
        value = number(cell)
        if value is None:
            return "it is no number"
        return "" if least <= value <= greatest else f"it is not between {least:g} and {greatest:g}"

    return within
