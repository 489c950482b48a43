r"""References in a stage's input: ``{{step:fetch:output.title}}``, compiled once, and resolved when the stage runs.

::

    text = { literal | "\{{" | "{{" ref [ "|" filter ] "}}" }
    ref  = "step:" name [":" ("output" | "error" | "status" | "duration_ms" | "attempts")] path
         | "branch:" branch ":" name [":" ...] path
         | "loop:" ("current_item" | "current_value" | "current_index" | "total_iterations" | "previous"
           | "results") path
         | "loop_value" | "loop_index" | "shared:" key path | "input" path | "run:" ("id" | "name")
    path = { "." word | "[" number "]" | "['" text "']" }        filter = "json" | "text" | "default:" JSON

A reference alone keeps its value's type; within a text, texts go in as they are and everything else as JSON.

Invariant: what is put in is never looked at again, so a model's answer that holds ``{{`` is a text. A value that is not
there is an error, unless the reference has a default.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.workflows import StageRecord

__all__ = ["Reference", "Scene", "compile_value", "parse", "references_of"]

_OPEN: Final = re.compile(r"\\\{\{|\{\{")
_FIELDS: Final = ("output", "error", "status", "duration_ms", "attempts")
_LOOP: Final = ("current_item", "current_value", "current_index", "total_iterations", "previous", "results")
_RUN: Final = ("id", "name")
_SHORT: Final = {"loop_value": "current_item", "loop_index": "current_index"}
_ROOTS: Final = ("step", "branch", "loop", "loop_value", "loop_index", "shared", "input", "run")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_MISSING: Final = object()

Resolve = Callable[["Scene"], Any]


class Scene(Protocol):
    """What references are resolved against: one place of one run."""

    @property
    def input(self) -> Any:
        """What the workflow is given."""

    @property
    def shared(self) -> Mapping[str, Any]:
        """What its stages share."""

    @property
    def locals(self) -> Mapping[str, Any]:
        """What belongs to the place."""

    @property
    def run_id(self) -> str:
        """The run's."""

    @property
    def workflow(self) -> str:
        """The workflow's name."""

    def kept(self, step: str, branch: str = "", /) -> StageRecord | None:
        """Return what became of a stage, or of one of a branch, as it is kept."""

    def own(self, value: Any, /) -> Any:
        """Return what is kept as whoever resolves it may change it."""


class Reference(Struct, frozen=True):
    """A reference.

    Attributes:
        root: ``step``, ``branch``, ``loop``, ``shared``, ``input`` or ``run``.
        names: What it names there: a stage, a branch and a stage, a fact.
        field: Of a stage: ``output`` ...
        path: What of the value: texts for keys, numbers for places.
        filter: ``json``, ``text``, ``default`` or nothing.
        default: What stands for a value that is not there.
        text: As it is written.
    """

    root: str
    names: tuple[str, ...] = ()
    field: str = "output"
    path: tuple[str | int, ...] = ()
    filter: str = ""
    default: Any = None
    text: str = ""

    def resolve(self, scene: Scene) -> Any:
        """Return the value.

        Raises:
            InvalidInputError: There is none, and no default.
        """
        value = _descend(_found(self, scene), self.path)
        if value is _MISSING:
            if self.filter == "default":
                return self.default
            raise InvalidInputError(
                f"{{{{{self.text}}}}}: there is no such value; add | default:VALUE, or name another"
            )
        if self.filter == "json":
            return _json(value)
        if self.filter == "text":
            return _as_text(value)
        return scene.own(value) if self.root in ("step", "branch") else value


def compile_value(value: Any, where: str) -> Resolve | None:
    """Return what resolves a value, None if it has no reference.

    Raises:
        InvalidInputError: A reference is wrong.
    """
    if isinstance(value, str):
        return _compile_text(value, where)
    if isinstance(value, Mapping):
        parts = {key: compile_value(item, f"{where}.{key}") for key, item in value.items()}
        if not any(parts.values()):
            return None
        items = [(key, value[key], part) for key, part in parts.items()]
        return lambda scene: {key: item if part is None else part(scene) for key, item, part in items}
    if isinstance(value, list | tuple):
        each = [(item, compile_value(item, f"{where}[{place}]")) for place, item in enumerate(value)]
        if not any(part for _, part in each):
            return None
        return lambda scene: [item if part is None else part(scene) for item, part in each]
    return None


def references_of(value: Any) -> Iterator[Reference]:
    """Yield the references in a value."""
    if isinstance(value, str):
        yield from (part for part in parse(value, "value") if isinstance(part, Reference))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references_of(item)


def _compile_text(text: str, where: str) -> Resolve | None:
    if "{{" not in text:
        return None
    parts = parse(text, where)
    if len(parts) == 1:
        (only,) = parts
        return only.resolve if isinstance(only, Reference) else lambda scene: only
    return lambda scene: "".join(part if isinstance(part, str) else _as_text(part.resolve(scene)) for part in parts)


def parse(text: str, where: str) -> list[str | Reference]:
    """Return the literal texts and references that a text consists of.

    Raises:
        InvalidInputError: A reference is wrong, or does not end.
    """
    parts: list[str | Reference] = []
    literal, start = "", 0
    while (found := _OPEN.search(text, start)) is not None:
        literal += text[start : found.start()]
        start = found.end()
        if found[0] != "{{":
            literal += "{{"
            continue
        end = text.find("}}", start)
        if end < 0:
            message = f"{where}: reference {text[found.start() :][:60]}: it does not end"
            raise InvalidInputError(message + "; close it with }}, or write \\{{", field=where)
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_reference(text[start:end].strip(), where))
        start = end + 2
    literal += text[start:]
    return [*parts, literal] if literal or not parts else parts


def _reference(text: str, where: str) -> Reference:
    body, bar, wanted = text.partition("|")
    body, (kind, default) = body.strip(), _filter(wanted.strip(), text, where) if bar else ("", None)
    root, colon, rest = body.partition(":")
    if not colon:
        root, rest = _split(body)
    if root not in _ROOTS:
        raise _wrong(where, text, f"{root!r} is nothing to refer to; {_nearest(root, _ROOTS)}")
    names: tuple[str, ...] = ()
    field = "output"
    if root in _SHORT:
        root, names = "loop", (_SHORT[root],)
    elif root in ("step", "branch"):
        wants = 2 if root == "branch" else 1
        pieces = rest.split(":", wants)
        if len(pieces) <= wants:  # the last name may have a path of its own, without a field
            last, rest = _split(pieces[-1])
            pieces = [*pieces[:-1], last]
        else:
            field, rest = _split(pieces.pop())
            if field not in _FIELDS:
                raise _wrong(where, text, f"a stage has no {field!r}; {_nearest(field, _FIELDS)}")
        names = tuple(pieces)
        if len(names) < wants or not all(names):
            raise _wrong(where, text, "write step:NAME:output, or branch:BRANCH:NAME:output")
    elif root in ("loop", "run"):
        known = _LOOP if root == "loop" else _RUN
        name, rest = _split(rest)
        if name not in known:
            raise _wrong(where, text, f"{root} has no {name!r}; {_nearest(name, known)}")
        names = (name,)
    elif root == "shared":
        rest = f".{rest}"
    return Reference(root, names, field, _path(rest, text, where), kind, default, text)


def _split(text: str) -> tuple[str, str]:
    """Return the name in front, and the path behind it."""
    for place, letter in enumerate(text):
        if letter in ".[":
            return text[:place].strip(), text[place:]
    return text.strip(), ""


def _path(text: str, whole: str, where: str) -> tuple[str | int, ...]:
    path: list[str | int] = []
    start = 0
    while start < len(text):
        step = _STEP.match(text, start)
        if step is None:
            raise _wrong(where, whole, f"{text[start:]!r} is no path; write .name, [0] or ['name']")
        word, number, single, double = step.groups()
        path.append(int(number) if number is not None else word if word is not None else single or double or "")
        start = step.end()
    return tuple(path)


def _filter(text: str, whole: str, where: str) -> tuple[str, Any]:
    name, colon, rest = text.partition(":")
    if name.strip() == "default" and colon:
        try:
            return "default", json.loads(rest)
        except ValueError:
            return "default", rest.strip()
    if text in ("json", "text"):
        return text, None
    raise _wrong(where, whole, f"there is no filter {text!r}; there are json, text and default:VALUE")


def _found(reference: Reference, scene: Scene) -> Any:
    root, names = reference.root, reference.names
    if root == "input":
        return scene.input
    if root == "shared":
        return scene.shared
    if root == "loop":
        name = "current_item" if names[0] == "current_value" else names[0]
        return scene.locals.get(name, _MISSING)
    if root == "run":
        return scene.run_id if names[0] == "id" else scene.workflow
    record = scene.kept(names[-1], names[0] if root == "branch" else "")
    if record is None or (reference.field == "output" and record.status != "done"):
        return _MISSING
    return record.elapsed_ms if reference.field == "duration_ms" else getattr(record, reference.field)


def _descend(value: Any, path: Sequence[str | int]) -> Any:
    """Return what a path leads to. A key that has dots in it comes before what lies deeper."""
    place = 0
    while place < len(path) and value is not _MISSING:
        step = path[place]
        if isinstance(value, Struct):
            value = plain(value)
        if isinstance(value, Mapping):
            value, place = _item(value, path, place)
        elif isinstance(value, list | tuple) and isinstance(step, int) and -len(value) <= step < len(value):
            value, place = value[step], place + 1
        else:
            return _MISSING
    return value


def _item(value: Mapping[Any, Any], path: Sequence[str | int], place: int) -> tuple[Any, int]:
    end = place + 1
    while end < len(path) and isinstance(path[end], str):
        end += 1
    for stop in range(end, place, -1) if isinstance(path[place], str) else ():
        name = ".".join(map(str, path[place:stop]))
        if name in value:
            return value[name], stop
    return value.get(path[place], _MISSING), place + 1


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(plain(value), order="deterministic").decode()


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 3, 0.0)
    return f"the nearest are {', '.join(close)}"


def _wrong(where: str, text: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{where}: reference {{{{{text}}}}}: {problem}", field=where)
