"""What a script's table makes a workflow from: each spelling of the original's, and every field of ours.

Invariant: what is not understood is told: a word that is no field, in the log, with the nearest one; a value that does
not fit, as an error that names the step. Nothing is dropped in silence.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.spelling import told

from .function import condition_of, expression_of, failing, stage_function
from .words import (
    AGGREGATION,
    BRANCH,
    ITERATOR,
    KINDS,
    OTHERWISE,
    OWN,
    PATTERN_WORDS,
    SAME,
    STEP,
    WHILE,
    check,
    check_workflow,
)

__all__ = ["name_of", "read_condition", "read_workflow"]

_log = logging.getLogger("llmspell.script")
_ODD: Final = re.compile(r"[^A-Za-z0-9_ .-]+")
_LOOP_ENDS: Final = {"last_only": "last", "all": "collect_all"}
_STRATEGIES: Final = {"stop": "fail_fast", "abort": "fail_fast"}
_RETRIES: Final = {"attempts": 3, "delay_s": 1.0, "backoff": 1.0}
"""What the original makes of the strategy ``retry``."""


def name_of(given: Any) -> str:
    """Return a name that fits, for people's names may hold anything.

    Raises:
        InvalidInputError: It is a function.
    """
    if callable(given):
        raise InvalidInputError("workflow: its name, or that of a step, is a function; give a text", field="name")
    return _ODD.sub("_", str(given)).strip()[:100].lstrip(" .-") or "unnamed"


def read_workflow(where: str, pattern: str, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the definition that a script's table asks for, as `Workflows.create` takes it.

    Raises:
        InvalidInputError: A value does not fit.
    """
    table = {**_mapping(given.get("config", {}), f"{where}: config"), **given}
    table |= _mapping(table.get("options", {}), f"{where}: options")
    check_workflow(where, pattern, table)
    said = table.get("type")
    if said not in (None, pattern):
        message = "%s: type = %s changes nothing, it is %s; call Workflow.create, or what is called as the pattern is"
        _log.warning(message, where, told(said), pattern)
    made: dict[str, Any] = {"name": name, "pattern": pattern}
    made |= {key: table[key] for key in (*SAME, *PATTERN_WORDS.get(pattern, ())) if table.get(key) is not None}
    if pattern not in PATTERN_WORDS and pattern != "sequential":
        made |= {key: value for key, value in table.items() if key not in OWN and value is not None}
    strategy = table.get("error_strategy")
    if strategy is not None:
        made["on_error"] = _STRATEGIES.get(str(strategy), strategy)
    seconds = _seconds(table, where)
    if seconds is not None:
        made["timeout_s"] = seconds
    reader = _Reader(where, made.get("on_error") == "retry")
    reader.learn(table)
    steps = table.get("steps") or table.get("stages") or table.get("body") or ()
    made["stages"] = reader.stages(steps, "steps")
    _SHAPES.get(pattern, _plain)(reader, table, made)
    return made


def _plain(reader: _Reader, table: Mapping[str, Any], made: dict[str, Any]) -> None:
    reduce = table.get("reduce") or table.get("reducer")
    if reduce is not None:
        made["reduce"] = reader.stage(reduce, "reduce")
    if table.get("branches"):
        made["branches"] = reader.branches(table["branches"])


def _parallel(reader: _Reader, table: Mapping[str, Any], made: dict[str, Any]) -> None:
    if table.get("branches"):
        made["branches"] = reader.branches(table["branches"])
        if made["stages"]:
            made["branches"] += [{"name": stage["name"], "stages": [stage]} for stage in made["stages"]]
            made["stages"] = []


def _conditional(reader: _Reader, table: Mapping[str, Any], made: dict[str, Any]) -> None:
    branches = reader.branches(table.get("branches") or ())
    then, otherwise = table.get("then_steps") or (), table.get("else_steps") or ()
    if then:
        condition = reader.condition(table.get("condition", "always"), "condition")
        branches.append({"name": "then", "condition": condition, "stages": reader.stages(then, "then")})
    default = made.pop("default_branch", None)
    if isinstance(default, Mapping):
        otherwise = default.get("steps") or default.get("stages") or ()
        if otherwise:
            check(f"{reader.where}: default_branch", "the default branch", default, OTHERWISE)
        elif default and not {"steps", "stages"} & default.keys():
            otherwise = default
        otherwise = (otherwise,) if isinstance(otherwise, Mapping) else otherwise
    elif isinstance(default, list | tuple):
        otherwise = default
    elif isinstance(default, str) and default:
        made["default_branch"] = name_of(default)
    if otherwise:
        branches.append({"name": "else", "default": True, "stages": reader.stages(otherwise, "else")})
    made["branches"] = branches


def _loop(reader: _Reader, table: Mapping[str, Any], made: dict[str, Any]) -> None:
    given = _mapping(table.get("iterator", {}), "iterator")
    check(f"{reader.where}: iterator", "an iterator", given, ITERATOR)
    iterator = {**table, **given}
    span = iterator.get("range")
    items = iterator.get("collection", iterator.get("items", iterator.get("values")))
    until = iterator.get("while_condition", iterator.get("while"))
    for key in ("range", "items", "while"):
        made.pop(key, None)
    if span is not None:
        made["range"] = {
            "start": 1,
            "end": 10,
            **{key: _whole(value) for key, value in _mapping(span, "range").items()},
        }
    elif items is not None:
        made["items"] = items.get("values", list(items.values())) if isinstance(items, Mapping) else items
    elif until is not None:
        inner = until if isinstance(until, Mapping) and "type" not in until and "evaluate" not in until else {}
        if "condition" in inner:
            check(f"{reader.where}: while_condition", "a while_condition", inner, WHILE)
        most = inner.get("max_iterations")
        made["while"] = reader.condition(inner.get("condition", until), "while")
        if most is not None:
            made["max_iterations"] = most
    if iterator.get("max_iterations") is not None:
        made["max_iterations"] = _whole(iterator["max_iterations"])
    breaks = table.get("break_conditions") or table.get("break_when") or ()
    made["break_when"] = [
        reader.condition(each, f"break_conditions[{place}]") for place, each in enumerate(_list(breaks, "breaks"), 1)
    ]
    gathering = table.get("aggregation_strategy") or table.get("aggregation")
    if gathering is not None:
        wanted = dict(gathering) if isinstance(gathering, Mapping) else {"type": gathering}
        check(f"{reader.where}: aggregation", "an aggregation", wanted, AGGREGATION)
        made["aggregation"] = _LOOP_ENDS.get(str(wanted.get("type")), wanted.get("type"))
        if wanted.get("n", wanted.get("count")) is not None:
            made["n"] = _whole(wanted.get("n", wanted.get("count")))


_SHAPES: Final[dict[str, Callable[[_Reader, Mapping[str, Any], dict[str, Any]], None]]] = {
    "parallel": _parallel,
    "conditional": _conditional,
    "loop": _loop,
}


class _Reader:
    """Reads the steps of one table.

    Args:
        where: What the script called.
        retries: Whether each step is tried again.

    Attributes:
        where: What the script called.
    """

    def __init__(self, where: str, retries: bool) -> None:
        self.where, self._retries = where, retries
        self._steps: tuple[str, ...] = ()

    def learn(self, table: Mapping[str, Any]) -> None:
        """Note the names of all steps, which functions may ask about."""
        names: list[str] = []
        waiting: list[Any] = [
            table.get(key) for key in ("steps", "stages", "body", "branches", "then_steps", "else_steps")
        ]
        while waiting:
            part = waiting.pop()
            if isinstance(part, list | tuple):
                waiting.extend(part)
            elif isinstance(part, Mapping):
                names.append(name_of(part.get("name", "")))
                waiting.extend((part.get("steps"), part.get("stages")))
        self._steps = tuple(dict.fromkeys(names))

    def branches(self, given: Any) -> list[dict[str, Any]]:
        """Return branches."""
        made = []
        for place, each in enumerate(_list(given, f"{self.where}: branches"), 1):
            branch = _mapping(each, f"{self.where}: branches[{place}]")
            name = name_of(branch.get("name") or f"branch_{place}")
            check(f"{self.where}: branch {name}", "a branch", branch, BRANCH)
            steps = branch.get("steps") or branch.get("stages") or ()
            fields: dict[str, Any] = {"name": name, "stages": self.stages(steps, name)}
            if branch.get("condition") is not None:
                fields["condition"] = self.condition(branch["condition"], name)
            if branch.get("is_default") or branch.get("default"):
                fields["default"] = True
            if branch.get("required") is not None:
                fields["required"] = branch["required"]
            seconds = _seconds(branch, f"{self.where}: {name}")
            if seconds is not None:
                fields["timeout_s"] = seconds
            made.append(fields)
        return made

    def stages(self, given: Any, what: str) -> list[dict[str, Any]]:
        """Return stages, each under a name of its own."""
        steps = _list(given, f"{self.where}: {what}")
        stages = [self.stage(step, f"step_{place}") for place, step in enumerate(steps, 1)]
        names: set[str] = set()
        for stage in stages:
            name, number = stage["name"], 1
            while stage["name"] in names:
                number += 1
                stage["name"] = f"{name}_{number}"
            names.add(stage["name"])
        return stages

    def stage(self, given: Any, default: str) -> dict[str, Any]:
        """Return a stage."""
        if callable(given):
            message = f"{self.where}: {default}: a function is no step; give a table with name and execute"
            raise InvalidInputError(message, field="steps")
        step = _mapping(given, f"{self.where}: {default}")
        name = name_of(step.get("name") or step.get("id") or default)
        where = f"{self.where}: step {name}"
        check(where, "a step", step, STEP)
        stage: dict[str, Any] = {"name": name, **self._what(step, name, where)}
        given_input = step.get("input", step.get("parameters", step.get("params")))
        if given_input is not None:
            stage["input"] = given_input
        seconds = _seconds(step, where)
        if seconds is not None:
            stage["timeout_s"] = seconds
        retry = self._retry(step)
        if retry is not None:
            stage["retry"] = retry
        strategy = step.get("error_strategy", step.get("on_error") if isinstance(step.get("on_error"), str) else None)
        if strategy is not None:
            stage["on_error"] = _STRATEGIES.get(str(strategy), strategy)
        needs = step.get("needs") or step.get("dependencies")
        if needs:
            stage["needs"] = [name_of(each) for each in _list(needs, f"{where}: needs")]
        if step.get("compensate") is not None:
            undo = step["compensate"]
            stage["compensate"] = self.stage({"execute": undo} if callable(undo) else undo, f"undo {name}"[:100])
        if step.get("repeatable") is not None:
            stage["repeatable"] = step["repeatable"]
        return stage

    def _what(self, step: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
        """Return what runs."""
        function = step.get("execute", step.get("function"))
        rescue = step.get("on_error")
        named = [word for word in (*KINDS, "address") if step.get(word) is not None]
        if len(named) + callable(function) > 1:
            words = " and ".join([*named, *(["execute"] if callable(function) else [])])
            raise InvalidInputError(f"{where}: it has {words}; give one of them", field="type")
        if callable(function):
            return {"function": stage_function(function, name, self._steps, rescue if callable(rescue) else None)}
        if callable(rescue):
            _log.warning("%s: on_error is a function and has no effect beside a tool; give error_strategy", where)
        for kind in KINDS:
            if step.get(kind) is not None:
                return {kind: _text_of(step[kind])}
        if isinstance(step.get("address"), str):
            return {"address": step["address"]}
        remedy = "give a tool, or execute = function(context) ... end"
        problem = ""
        if isinstance(function, str):  # the original made up what such a step yields
            problem = f"{where}: the function {told(function)} is only named; {remedy}"
        elif step.get("template") is not None:
            problem = f"{where}: there are no templates of steps; {remedy}"
        if problem:
            _log.warning("%s", problem)
            return {"function": failing(problem, name)}
        message = f"{where}: it does not say what runs; give one of {', '.join(KINDS)}, execute"
        raise InvalidInputError(message, field="type")

    def _retry(self, step: Mapping[str, Any]) -> Any:
        given = step.get("retry")
        if given is not None:
            return given
        count = step.get("retry_count", step.get("retry_attempts", step.get("retries")))
        if count is not None:
            return {**_RETRIES, "attempts": 1 + _whole(count)} if _whole(count) else None
        return dict(_RETRIES) if self._retries else None

    def condition(self, given: Any, where: str) -> Any:
        """Return a condition."""
        return read_condition(given, f"{self.where}: {where}", self._steps)


def read_condition(given: Any, where: str, steps: tuple[str, ...]) -> Any:
    """Return a condition: a table, a text or a function, in each spelling.

    Raises:
        InvalidInputError: It is none of those.
    """
    if callable(given):
        return condition_of(given, steps, where)
    if isinstance(given, str):
        native = given in ("always", "never") or given.startswith("step:")
        return given if native else expression_of(given, where)
    if not isinstance(given, Mapping):
        return given
    function = given.get("evaluate", given.get("function"))
    if callable(function):
        return condition_of(function, steps, where)
    text = given.get("expression")
    if isinstance(text, str) and given.get("type") in (None, "custom", "expression"):
        return expression_of(text, where, str(given.get("message") or text))
    if given.get("type") in ("and", "or"):
        inner = given.get("conditions")
        parts = [read_condition(each, where, steps) for each in _list(inner, where)]
        if any(map(callable, parts)):
            message = f"{where}: a function or comparison stands within {given['type']}; write it all as one function"
            raise InvalidInputError(message, field="condition")
        return {"type": given["type"], "conditions": parts}
    return {key: value for key, value in given.items() if key not in ("message", "description")}


def _text_of(given: Any) -> str:
    """Return the name of what a step runs, given it or its name."""
    if isinstance(given, ScriptObject):
        return given.script_text()
    if isinstance(given, Mapping):
        given = given.get("name") or given.get("id")
    return str(given)


def _seconds(table: Mapping[str, Any], where: str) -> float | None:
    if table.get("timeout_ms") is not None:
        return _number(table["timeout_ms"], f"{where}: timeout_ms") / 1000
    seconds = table.get("timeout_s", table.get("timeout"))
    return None if seconds is None else _number(seconds, f"{where}: timeout")


def _number(given: Any, where: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidInputError(f"{where} is {told(given)}; give a number", field="timeout")
    return given


def _whole(given: Any) -> Any:
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _mapping(given: Any, where: str) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    if given in ((), []):
        return {}
    raise InvalidInputError(f"{where}: {_shown(given)} is no table; give one", field=where)


def _list(given: Any, where: str) -> Sequence[Any]:
    if isinstance(given, list | tuple):
        return given
    if isinstance(given, Mapping) and not given:
        return ()
    raise InvalidInputError(f"{where}: {_shown(given)} is no list; give one", field=where)


def _shown(given: Any) -> str:
    return "a function" if callable(given) else told(given)
