"""What expressions are made of: operators and functions over floats, as IEEE 754 has them.

Invariant: each takes floats and answers a float, and raises only for an exponent that is too large; where Python
raises, infinity or NaN is the answer, and a NaN that goes in comes out. Angles in radians.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from llmspell_hookspecs import ToolError

__all__ = ["CONSTANTS", "FUNCTIONS", "OPERATORS", "Function", "catalog"]

_EXPONENT = 100
_CALLS = 50
_POLE = MappingProxyType({0.0: -math.inf})


class Function(NamedTuple):
    """A function: how it is written, what computes it, and how many values it takes."""

    signature: str
    call: Callable[..., float]
    least: int = 1
    most: int = 1


def _ieee(
    function: Callable[[float], float], poles: Mapping[float, float] = MappingProxyType({})
) -> Callable[..., float]:
    """Return the function with infinity and NaN where Python raises; poles say where it is infinite."""

    def call(value: float) -> float:
        try:
            return float(function(value))
        except OverflowError:
            return -math.inf if function is math.sinh and value < 0 else math.inf
        except ValueError:
            return poles.get(value, math.nan)

    return call


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(function(value)) if math.isfinite(value) else value


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)


def _remainder(left: float, right: float) -> float:
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > _EXPONENT:
        what = f"expression: the exponent {exponent:g} is beyond {_EXPONENT}; use a smaller one"
        raise ToolError(what, code="limit_exceeded")
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


def _logarithm(*values: float) -> float:
    """Return log(x) to base 10, or log(base, x)."""
    if len(values) == 1 or values[0] == 10:
        return _ieee(math.log10, _POLE)(values[-1])
    if values[0] == 2:
        return _ieee(math.log2, _POLE)(values[1])
    ln = _ieee(math.log, _POLE)
    return _divide(ln(values[1]), ln(values[0]))


def _round(value: float, digits: float = 0) -> float:
    """Return the nearest number with so many decimal places; without them, halves go away from zero."""
    if not (math.isfinite(value) and math.isfinite(digits)):
        return value
    if digits:
        return _ieee(lambda number: round(number, int(max(-400, min(digits, 400)))))(value)
    whole = float(math.trunc(value))
    return whole + math.copysign(1, value) if abs(value - whole) >= 0.5 else whole


def _extreme(choose: Callable[[Iterable[float]], float]) -> Callable[..., float]:
    return lambda *values: math.nan if any(map(math.isnan, values)) else choose(values)


def _sign(value: float) -> float:
    return value if math.isnan(value) or value == 0 else math.copysign(1, value)


_OPERATOR_GROUPS = {
    "arithmetic": ["+", "-", "*", "/", "%", "^"],
    "comparison": ["<", "<=", "==", "!=", ">=", ">"],
    "logical": ["&&", "||", "!"],
}
_FUNCTION_GROUPS: dict[str, dict[str, Function]] = {
    "trigonometric": {
        name: Function(f"{name}(x)", _ieee(getattr(math, name)))
        for name in ("sin", "cos", "tan", "asin", "acos", "atan")
    },
    "hyperbolic": {
        **{
            name: Function(f"{name}(x)", _ieee(getattr(math, name)))
            for name in ("sinh", "cosh", "tanh", "asinh", "acosh")
        },
        "atanh": Function("atanh(x)", _ieee(math.atanh, {1.0: math.inf, -1.0: -math.inf})),
    },
    "exponential": {
        "sqrt": Function("sqrt(x)", _ieee(math.sqrt)),
        "exp": Function("exp(x)", _ieee(math.exp)),
        "ln": Function("ln(x)", _ieee(math.log, _POLE)),
        "log": Function("log(x) or log(base, x)", _logarithm, 1, 2),
        "abs": Function("abs(x)", abs),
        "sign": Function("sign(x)", _sign),
    },
    "rounding": {
        "int": Function("int(x)", _whole(math.trunc)),
        "ceil": Function("ceil(x)", _whole(math.ceil)),
        "floor": Function("floor(x)", _whole(math.floor)),
        "round": Function("round(x) or round(x, digits)", _round, 1, 2),
    },
    "constants": {"pi": Function("pi()", lambda: math.pi, 0, 0), "e": Function("e()", lambda: math.e, 0, 0)},
    "aggregate": {
        "min": Function("min(x, ...)", _extreme(min), 1, _CALLS),
        "max": Function("max(x, ...)", _extreme(max), 1, _CALLS),
    },
}
FUNCTIONS = {name: function for group in _FUNCTION_GROUPS.values() for name, function in group.items()}
CONSTANTS = {"pi": math.pi, "e": math.e}
OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.Mod: _remainder,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: lambda value: float(not value),
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
}


def catalog() -> dict[str, list[str]]:
    """Return every operator and function, by group."""
    functions = {group: [one.signature for one in members.values()] for group, members in _FUNCTION_GROUPS.items()}
    return {**_OPERATOR_GROUPS, **functions}
