"""A script's function as a stage or as a condition, and the one comparison that old scripts write as text.

What a stage's function answers is its output; of a table with ``success`` the ``output`` is, and ``success = false`` is
a failure. A condition's answer counts as the script's language has it: nothing and false do not hold.
"""

from __future__ import annotations

import json
import logging
import operator
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError, script_method
from llmspell_hookspecs.errors import OperationError, text_of_error
from llmspell_hookspecs.language import ScriptFunction, ScriptObject
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.values import thaw
from llmspell_hookspecs.workflows import StageContext, StageRecord

__all__ = ["StageView", "condition_of", "expression_of", "failing", "stage_function"]

_log = logging.getLogger("llmspell.script")
_COMPARISON: Final = re.compile(r"^\s*(.+?)\s*(==|~=|!=|<=|>=|<|>)\s*(.+?)\s*$", re.DOTALL)
_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "~=": operator.ne,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_PLACES: Final = {
    "loop_value": "current_item",
    "current_value": "current_item",
    "item": "current_item",
    "loop_index": "current_index",
    "index": "current_index",
}
"""What a place in a loop is called, beside its own names."""


class StageView(ScriptObject):
    """What a script's function is given: the place in the run that it is called for.

    Its fields are ``input`` (``parameters``), ``current_item``, ``current_index``, ``total_iterations``, ``previous``,
    ``shared`` and its keys, ``results`` and ``steps`` (those that ran before, by name), ``workflow``, ``execution_id``.
    """

    def __init__(self, place: StageContext, steps: tuple[str, ...]) -> None:
        self._place, self._steps = place, steps

    def script_fields(self) -> Mapping[str, Any]:
        """Return what does not change."""
        place = self._place
        return {
            "workflow": place.workflow,
            "workflow_name": place.workflow,
            "workflow_id": place.workflow,
            "execution_id": place.run_id,
            "run_id": place.run_id,
            "path": place.path,
            "step_name": place.path.rpartition("/")[2],
            "key": place.key,
        }

    def script_lookup(self, name: str) -> Any:
        """Return one of the fields that are made on demand; None if it is none."""
        place = self._place
        if name in ("input", "parameters", "params"):
            return thaw(place.input)
        if name in ("shared", "shared_data"):
            return {key: thaw(place.shared[key]) for key in place.shared}
        if name in ("results", "outputs", "step_outputs"):
            return {step: thaw(record.output) for step, record in self._records().items()}
        if name in ("steps", "step_results"):
            return {step: _told(record) for step, record in self._records().items()}
        spelled = _PLACES.get(name, name)
        if spelled in place.locals:
            return thaw(place.locals[spelled])
        return thaw(place.shared[name]) if name in place.shared else None

    @script_method("get_output")
    def output(self, step: str) -> Any:
        """Return what a stage that ran before yielded, or nothing."""
        return thaw(self._place.output(step))

    @script_method("get_shared_data")
    def get_shared(self, key: str) -> Any:
        """Return what the stages share under a key, or nothing."""
        return thaw(self._place.shared[key]) if key in self._place.shared else None

    @script_method("set_shared_data")
    def set_shared(self, key: str, value: Any) -> None:
        """Share something with the stages to come."""
        self._place.shared[key] = value

    def _records(self) -> dict[str, StageRecord]:
        found = {step: self._place.record(step) for step in self._steps}
        return {step: record for step, record in found.items() if record is not None}


def _told(record: StageRecord) -> dict[str, Any]:
    return {
        "success": record.status == "done",
        "status": record.status,
        "output": thaw(record.output),
        "error": record.error or None,
        "duration_ms": record.elapsed_ms,
        "attempts": record.attempts,
    }


def stage_function(
    function: ScriptFunction, name: str, steps: tuple[str, ...], rescue: ScriptFunction | None = None
) -> Callable[[StageContext], Awaitable[Any]]:
    """Return the function of a stage that calls a script's.

    Args:
        function: The script's.
        name: The stage's name.
        steps: The stages that it may ask about.
        rescue: Called with the error's text if it fails; what it answers is the output then, nothing is none.
    """

    async def run(place: StageContext) -> Any:
        view = StageView(place, steps)
        try:
            return _output(_first(await function(view)), name)
        except Exception as error:
            if rescue is None:
                raise
            answer = _first(await rescue(text_of_error(error), view))
            if answer is None:
                raise
            return _output(answer, name)

    run.__name__ = name
    return run


def _output(answer: Any, name: str) -> Any:
    if callable(answer) or (isinstance(answer, Mapping) and any(map(callable, answer.values()))):
        raise OperationError(f"{name}: its function answers a function, which no later step can use; answer a value")
    if not isinstance(answer, Mapping) or not isinstance(answer.get("success"), bool):
        return answer
    if answer["success"]:
        return answer.get("output", answer)
    why = answer.get("error") or answer.get("message") or "it says that it failed"
    raise OperationError(f"{name}: {why if isinstance(why, str) else told(why)}")


def failing(why: str, name: str) -> Callable[[StageContext], Any]:
    """Return the function of a stage that cannot run; the rest of its workflow can be looked at all the same."""

    def fail(place: StageContext) -> Any:
        raise OperationError(why)

    fail.__name__ = name
    return fail


def condition_of(function: ScriptFunction, steps: tuple[str, ...], where: str) -> Callable[[StageContext], Any]:
    """Return the condition that a script's function decides."""

    async def decide(place: StageContext) -> bool:
        answer = _first(await function(StageView(place, steps)))
        return answer is not None and answer is not False

    decide.__name__ = where
    return decide


def expression_of(text: str, where: str, name: str = "") -> Callable[[StageContext], bool]:
    """Return the condition that a text stands for: ``true``, ``false``, or one comparison such as ``loop_index < 3``.

    Each side is a number, a quoted text, ``true``, ``false``, or a name: of a shared value, of a place in a loop, of a
    field of the workflow's input (``input.amount``, or ``amount``). What is not there compares as false, and is told.

    Raises:
        InvalidInputError: It is none of those.
    """
    if text.strip() in ("true", "always"):
        return lambda place: True
    if text.strip() in ("false", "never"):
        return lambda place: False
    found = _COMPARISON.match(text)
    if found is None:
        message = f"{where}: {told(text)} is no condition; write a comparison such as 'count < 3', or a function"
        raise InvalidInputError(message, field="condition")
    left, compare, right = _side(found[1], where), _COMPARE[found[2]], _side(found[3], where)
    unsaid = {side for side in (found[1], found[3]) if side not in ("null", "nil")}

    def decide(place: StageContext) -> bool:
        one, other = left(place), right(place)
        for side, value in ((found[1], one), (found[3], other)):
            if value is None and side in unsaid:  # once: a loop asks at every turn
                unsaid.discard(side)
                _log.warning("%s: %s: there is no %s, shared or in the input", where, told(text), told(side))
        try:
            return bool(compare(one, other))
        except TypeError:
            kinds = f"{type(one).__name__} and {type(other).__name__}"
            if one is not None and other is not None:
                _log.warning("%s: %s: %s cannot be compared so; it does not hold", where, told(text), kinds)
            return False

    decide.__name__ = name or text
    return decide


def _side(text: str, where: str) -> Callable[[StageContext], Any]:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if quoted:
        return lambda place: text[1:-1]
    try:
        value = None if text == "nil" else json.loads(text)
    except ValueError:
        name = text.strip("{} ")
        if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
            message = f"{where}: {told(text)} is no value; write a number, a quoted text or a name"
            raise InvalidInputError(message, field="condition") from None
        path = name.removeprefix("shared.").removeprefix("shared_data.").split(".")
        return lambda place: _named(place, path)
    return lambda place: value


def _named(place: StageContext, path: list[str]) -> Any:
    """Return what a name stands for, None if nothing does: a dotted one may be one key, or lead into tables."""
    whole = ".".join(path)
    if whole in place.shared:
        return thaw(place.shared[whole])
    found = StageView(place, ()).script_lookup(path[0])
    if found is None and isinstance(place.input, Mapping):
        found = thaw(place.input.get(path[0]))
    for name in path[1:]:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _first(answer: Any) -> Any:
    return (answer[0] if answer else None) if isinstance(answer, tuple) else answer
