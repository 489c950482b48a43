"""Values of all the types that may cross between a caller, hooks and a body, made anew at each asking."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import os
import pathlib
import time
import types
import uuid
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, HttpUrl, PrivateAttr, RootModel, SecretStr
from pydantic.dataclasses import dataclass as checked_dataclass

__all__ = ["REFUSED", "VALUES", "nested"]


@dataclass
class Point:
    x: Any
    rest: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fixed:
    x: Any
    rest: Any


@checked_dataclass
class Checked:
    x: int
    rest: list[int]


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1
    rest: list[Any] = [1]
    hidden: Any = Field(default=None, exclude=True)
    _own: list[int] = PrivateAttr(default_factory=lambda: [3])


class Wide(BaseModel):
    one: int = 0
    two: int = 0
    three: int = 0
    four: int = 0
    five: int = 0


class Row(RootModel[list[int]]):
    """A list."""


class Open(msgspec.Struct):
    x: Any


class Closed(msgspec.Struct, frozen=True):
    x: Any


class Pair(NamedTuple):
    x: Any
    y: int


class OwnDict(dict[str, Any]):
    def __init__(self, needed: Any) -> None:
        super().__init__(needed)


class OwnList(list[Any]):
    """A list."""


class OwnTuple(tuple[Any, ...]):
    """A tuple."""


class OwnText(str):
    """A text."""


class OwnNumber(int):
    """A number."""


class OwnFloat(float):
    """A number."""


class OwnBytes(bytes):
    """Bytes."""


class OwnSet(set[Any]):
    """A set."""


class OwnFrozenSet(frozenset[Any]):
    """A set."""


class OwnDeque(deque[Any]):
    """A deque."""


class OwnTime(datetime.datetime):
    """A time."""


class Colour(enum.Enum):
    RED = 1
    PAIR = (1, 2)


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Word(enum.StrEnum):
    A = "a"


VALUES: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "one": lambda: 1,
    "one as a float": lambda: 1.0,
    "infinity": lambda: float("inf"),
    "negative zero": lambda: -0.0,
    "text": lambda: "x",
    "bytes": lambda: b"x",
    "no list": list,
    "list": lambda: [1],
    "list of lists": lambda: [[1], {"a": ()}],
    "no tuple": tuple,
    "tuple": lambda: (1,),
    "tuple with a list": lambda: ([1],),
    "no dict": dict,
    "dict": lambda: {"a": [1]},
    "dict with a tuple": lambda: {"a": (1, [2])},
    "dict by tuples": lambda: {(1, 2): 3},
    "ordered dict": lambda: OrderedDict(b=[1], a=2),
    "default dict": lambda: defaultdict(list, {"a": [1]}),
    "counter": lambda: Counter("abca"),
    "chain of maps": lambda: ChainMap({"a": [1]}, {"b": 2}),
    "user's dict": lambda: UserDict(a=[1]),
    "user's list": lambda: UserList([1, [2]]),
    "own dict": lambda: OwnDict({"a": [1]}),
    "own list": lambda: OwnList([1, [2]]),
    "own tuple": lambda: OwnTuple((1, [2])),
    "own text": lambda: OwnText("x"),
    "own number": lambda: OwnNumber(3),
    "own float": lambda: OwnFloat(1.5),
    "own bytes": lambda: OwnBytes(b"q"),
    "own set": lambda: OwnSet({1}),
    "own frozen set": lambda: OwnFrozenSet({1}),
    "own deque": lambda: OwnDeque([1], 3),
    "own time": lambda: OwnTime(2020, 1, 1),
    "deque": lambda: deque([1, [2]], maxlen=4),
    "set": lambda: {1, 2},
    "frozen set": lambda: frozenset({1, (2, 3)}),
    "bytearray": lambda: bytearray(b"ab"),
    "view of bytes": lambda: memoryview(b"ab"),
    "view of numbers": lambda: memoryview(bytearray(b"abcd")).cast("H"),
    "array": lambda: array("d", [1.0]),
    "pair with a list": lambda: Pair([1], 2),
    "pair": lambda: Pair(1, 2),
    "enum": lambda: Colour.RED,
    "enum of a pair": lambda: Colour.PAIR,
    "flags": lambda: Access.READ | Access.WRITE,
    "enum of texts": lambda: Word.A,
    "moment": lambda: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "moment without zone": lambda: datetime.datetime(2026, 1, 1),
    "date": lambda: datetime.date(2026, 1, 1),
    "time": lambda: datetime.time(1),
    "span": lambda: datetime.timedelta(1),
    "zone": lambda: datetime.UTC,
    "decimal": lambda: decimal.Decimal("1.0"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "complex": lambda: 1j,
    "range": lambda: range(3),
    "uuid": lambda: uuid.UUID(int=3),
    "path": lambda: pathlib.Path("/a"),
    "pure path": lambda: pathlib.PurePosixPath("/a"),
    "dataclass": lambda: Point(1, [2]),
    "frozen dataclass": lambda: Fixed(1, [2]),
    "checked dataclass": lambda: Checked(1, [2]),
    "model": lambda: Model.model_validate({"a": 2, "rest": [[4]], "more": {"q": [1]}}),
    "model with many fields set": lambda: Wide(one=1, two=2, three=3, four=4),
    "set of texts": lambda: {"one", "two", "three", "four"},
    "model of a list": lambda: Row([1, 2]),
    "struct": lambda: Open([1]),
    "frozen struct": lambda: Closed([1]),
    "namespace": lambda: types.SimpleNamespace(a=[1]),
    "calendar time": lambda: time.gmtime(0),
    "stat": lambda: os.stat("/"),
    "secret": lambda: SecretStr("x"),
    "url": lambda: AnyUrl("http://a/"),
    "http url": lambda: HttpUrl("http://a/"),
    "deep": lambda: {"deep": [Point(1, [Model()]), (deque([{1}]),)]},
}


class Opaque:
    """Nobody knows what is in it."""


class Stateful(dict[str, Any]):
    """A dict with more in it than it shows."""

    def __init__(self) -> None:
        super().__init__(a=1)
        self.more = "hidden"


class Listed(enum.Enum):
    A = [1]  # noqa: RUF012


def circle() -> list[Any]:
    """Return a list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


def nested(levels: int) -> Any:
    """Return a list in a list and so on."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


REFUSED: dict[str, Callable[[], Any]] = {
    "generator": lambda: (x for x in [1]),
    "function": lambda: nested,
    "Opaque": Opaque,
    "Stateful": Stateful,
    "Listed": lambda: Listed.A,
    "nested": lambda: nested(201),
    "holds itself": circle,
    "type": lambda: int,
    "object": lambda: {"a": [object()]},
    "nested more": lambda: nested(50_000),
    "ValueError": lambda: ValueError("as a value"),
    "KeyError": lambda: {"why": [KeyError("a"), ExceptionGroup("all", [OSError()])]},
}


if __name__ == "__main__":  # prints what stands for each, for whoever compares processes
    from llmspell_hookspecs.values import canonical

    for name, make in VALUES.items():
        if name != "stat":  # the folder's, which others touch
            print(name, canonical(make()).hex())
