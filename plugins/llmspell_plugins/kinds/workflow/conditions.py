"""Conditions: the original's twelve, as data, compiled once; and functions.

::

    always | never
    shared_data_equals {key, value} | shared_data_exists {key}
    step_result_equals {step, value} | step_succeeded {step} | step_failed {step} | step_output_contains {step, text}
    agent_classification {step, value} - a stage whose agent answers with one word
    and {conditions} | or {conditions} | not {condition} | custom {function}

Invariant: a condition reads records and shared data only, as its inputs, which hooks see before it is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.payload import payload_text
from llmspell_hookspecs.spelling import told

from .reference import Scene

__all__ = ["Condition", "compile_condition"]

Inputs = Mapping[str, Any]

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "always": (),
    "never": (),
    "shared_data_equals": ("key", "value"),
    "shared_data_exists": ("key",),
    "step_result_equals": ("step", "value"),
    "step_succeeded": ("step",),
    "step_failed": ("step",),
    "step_output_contains": ("step", "text"),
    "agent_classification": ("step", "value"),
    "and": ("conditions",),
    "or": ("conditions",),
    "not": ("condition",),
    "custom": ("function",),
}
_SPELLINGS: Final = {
    "step_name": "step",
    "expected_value": "value",
    "expected": "value",
    "expected_type": "value",
    "search_text": "text",
    "name": "step",
}
"""How the original calls the fields."""


class Condition(Struct, frozen=True, eq=False):
    """A condition, compiled.

    Attributes:
        text: For people.
        steps: The stages that it names.
        gather: Returns its inputs.
        decide: Returns the verdict, given the inputs.
        function: Decides instead, if there is one.
    """

    text: str
    steps: tuple[str, ...]
    gather: Callable[[Scene], dict[str, Any]]
    decide: Callable[[Inputs], bool]
    function: Callable[..., Any] | None = None


def compile_condition(given: Any, where: str) -> Condition:
    """Return a condition as it is decided.

    Args:
        given: A mapping with a ``type``; ``"always"``, ``"never"``, ``"step:NAME"`` or ``"step:NAME:VALUE"``; a
            boolean; or a function of a `StageContext`.
        where: For the error.

    Raises:
        InvalidInputError: It is none of those.
    """
    if callable(given):
        name = getattr(given, "__name__", "function")
        return Condition(f"{name}()", (), lambda scene: {}, lambda inputs: False, given)
    if isinstance(given, bool):
        given = {"type": "always" if given else "never"}
    elif isinstance(given, str):
        given = _short(given, where)
    if not isinstance(given, Mapping) or not isinstance(given.get("type"), str):
        raise InvalidInputError(f"{where}: {told(given, 80)} is no condition; give a mapping with a type", field=where)
    kind = given["type"]
    if kind not in _FIELDS:
        raise InvalidInputError(
            f"{where}: there is no condition {told(kind)}; there are {', '.join(_FIELDS)}", field=where
        )
    fields = {
        _SPELLINGS.get(str(name), str(name)): given[name] for name in given if name not in ("type", "description")
    }
    wanted = _FIELDS[kind]
    wrong = [name for name in fields if name not in wanted] or [name for name in wanted if name not in fields]
    if wrong:
        message = f"{where}: {told(wrong[0])} does not fit; {kind} takes {', '.join(wanted) or 'nothing'}"
        raise InvalidInputError(message, field=f"{where}.{wrong[0]}")
    return _compiled(kind, fields, where)


def _short(text: str, where: str) -> Mapping[str, Any]:
    if text in ("always", "never"):
        return {"type": text}
    first, _, rest = text.partition(":")
    name, colon, expected = rest.partition(":")
    if first != "step" or not name:
        raise InvalidInputError(f"{where}: {text!r:.60} is no condition; write always, never or step:NAME", field=where)
    return (
        {"type": "step_result_equals", "step": name, "value": expected}
        if colon
        else {"type": "step_succeeded", "step": name}
    )


def _compiled(kind: str, fields: dict[str, Any], where: str) -> Condition:
    if kind == "custom":
        if not callable(fields["function"]):
            raise InvalidInputError(f"{where}: {told(fields['function'])} is no function; give one", field=where)
        return compile_condition(fields["function"], where)
    if kind in ("and", "or", "not"):
        return _combined(kind, fields, where)
    if kind in ("always", "never"):
        return Condition(kind, (), lambda scene: {}, lambda inputs: kind == "always")
    if kind.startswith("shared"):
        key, expected = str(fields["key"]), fields.get("value")
        name = f"shared:{key}"
        if kind == "shared_data_exists":
            return Condition(f"{name} exists", (), lambda scene: {name: key in scene.shared}, lambda given: given[name])
        return Condition(
            f"{name} == {expected!r}",
            (),
            lambda scene: {name: scene.shared.get(key)},
            lambda given: bool(given[name] == expected),
        )
    step = str(fields["step"])
    if kind in ("step_succeeded", "step_failed"):
        name, wanted = f"step:{step}:status", "done" if kind == "step_succeeded" else "failed"
        return Condition(
            f"{name} is {wanted}", (step,), lambda s: {name: _status(s, step)}, lambda g: g[name] == wanted
        )
    name, expected = f"step:{step}:output", fields.get("text", fields.get("value"))
    decide: Callable[[Any], bool] = {
        "step_result_equals": lambda output: bool(output == expected) or _text(output) == _text(expected),
        "step_output_contains": lambda output: output is not None and _text(expected) in _text(output),
        "agent_classification": lambda output: _word(output) == _word(expected),
    }[kind]
    text = f"{name} {kind.rpartition('_')[2]} {expected!r}"
    return Condition(text, (step,), lambda scene: {name: _output(scene, step)}, lambda given: decide(given[name]))


def _combined(kind: str, fields: dict[str, Any], where: str) -> Condition:
    inner = [fields["condition"]] if kind == "not" else fields["conditions"]
    if not isinstance(inner, list | tuple):
        raise InvalidInputError(f"{where}: its conditions are a {type(inner).__name__}; give a list", field=where)
    parts = [compile_condition(each, f"{where}.{kind}[{place}]") for place, each in enumerate(inner)]
    if any(part.function for part in parts):
        message = f"{where}: a function stands within {kind}; write the whole condition as one function"
        raise InvalidInputError(message, field=where)

    def gather(scene: Scene) -> dict[str, Any]:
        return {name: value for part in parts for name, value in part.gather(scene).items()}

    decide: Callable[[Inputs], bool] = {
        "and": lambda given: all(part.decide(given) for part in parts),
        "or": lambda given: any(part.decide(given) for part in parts),
        "not": lambda given: not parts[0].decide(given),
    }[kind]
    joined = f" {kind} ".join(f"({part.text})" for part in parts)
    text = f"not {joined}" if kind == "not" else joined
    return Condition(text, tuple(step for part in parts for step in part.steps), gather, decide)


def _status(scene: Scene, step: str) -> str:
    record = scene.kept(step)
    return "" if record is None else record.status


def _output(scene: Scene, step: str) -> Any:
    record = scene.kept(step)
    return None if record is None else record.output


def _text(value: Any) -> str:
    return payload_text(value)


def _word(value: Any) -> str:
    return _text(value).strip().strip(".!\"'").casefold()
