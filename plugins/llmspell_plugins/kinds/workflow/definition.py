"""Definitions: made from plain data, as a TOML or JSON file has it, and back; and compiled for running.

A stage says what runs by one of ``tool``, ``agent``, ``workflow``, ``model``, ``address`` and ``function``. What a
definition has beside the fields of `WorkflowDefinition` are options of its pattern.

Invariant: what is wrong with a definition is said when it is made: a reference to a stage that there is not, or that
does not come before; an option that the pattern does not take.

It is longer than most because what makes a definition of data and what checks it are to be read beside each other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import Any, Final

import msgspec
from msgspec import Struct, structs
from pydantic import ValidationError

from llmspell_hookspecs.bounds import check_bounds
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import InvalidInputError, line_of_error, text_of_error
from llmspell_hookspecs.parameters import first_problem
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflows import Branch, Pattern, Retries, Stage, WorkflowDefinition
from llmspell_plugins.kinds.hiding import hide_value

from .conditions import Condition, compile_condition
from .reference import Resolve, compile_value, references_of

__all__ = ["CompiledStage", "Plan", "compile_definition", "defined", "endless", "needed", "stages_of", "to_dict"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]{0,99}")
_KINDS: Final = ("tool", "agent", "workflow", "model")
_STRATEGIES: Final = ("", "fail_fast", "continue", "retry", "compensate")
_STAGE: Final = frozenset(Stage.__struct_fields__)
_BRANCH: Final = frozenset(Branch.__struct_fields__)
_DEFINITION: Final = frozenset(WorkflowDefinition.__struct_fields__)
_OTHERWISE: Final = {
    **dict.fromkeys(("steps", "step", "stage", "tasks", "body"), "stages"),
    **dict.fromkeys(("type", "kind", "mode"), "pattern"),
    **dict.fromkeys(("timeout", "timeout_ms", "deadline", "deadline_s"), "timeout_s"),
    **dict.fromkeys(("error_strategy", "strategy"), "on_error"),
    **dict.fromkeys(("concurrency", "max_parallel"), "max_concurrency"),
    **dict.fromkeys(("while_condition", "condition"), "while"),
}
"""What people call a field of a workflow, that spelling alone would not find."""
_MOST: Final = 1e13
"""What is no number of seconds, nor of attempts, any more."""
_TEXT: Final = ((str,), "a text")
_SWITCH: Final = ((bool,), "true or false")
_NOTHING: Final = type(None)
_TYPES: Final[dict[str, tuple[tuple[type, ...], str]]] = {
    **dict.fromkeys(("name", "address", "pattern", "description", "on_error", "on_cancel"), _TEXT),
    **dict.fromkeys(("durable", "default", "required"), _SWITCH),
    **dict.fromkeys(("options", "shared"), ((Mapping,), "a table")),
    **dict.fromkeys(("stages", "branches", "needs"), ((tuple, list), "a list")),
    **dict.fromkeys(("compensate", "reduce"), ((Stage, _NOTHING), "a stage")),
    "timeout_s": ((int, float, _NOTHING), "a number of seconds"),
    "repeatable": ((bool, _NOTHING), "true or false"),
    "retry": ((Retries, _NOTHING), "a table"),
}
"""What each field of a definition, a stage and a branch holds."""


class CompiledStage(Struct, eq=False):
    """A stage as it runs.

    Attributes:
        stage: As it was defined.
        kind: ``tool`` ... or ``function``.
        target: The name of what runs.
        component: What hooks match.
        resolve: Resolves its input; None if that has no references.
        retry: How often it is tried again; None for once.
        on_error: What becomes of the run if it fails.
        undo: What undoes it.
        uses: The stages without whose output it cannot run.
        safety: What becomes of it if it runs twice, once that was asked.
    """

    stage: Stage
    kind: str
    target: str
    component: ComponentRef
    resolve: Resolve | None
    retry: Retries | None
    on_error: str
    undo: CompiledStage | None = None
    uses: tuple[str, ...] = ()
    safety: Any = None


class Plan(Struct, eq=False):
    """A definition, compiled.

    Attributes:
        definition: It.
        pattern: What orders its stages.
        options: The pattern's own, as its model has them.
        stages: Every stage, by the id of its definition.
        conditions: Every condition, by the id of what it was made from.
        plain: The definition as plain data.
        shown: The same as hooks see it, with its secrets hidden.
        names: The names of its stages.
    """

    definition: WorkflowDefinition
    pattern: Pattern
    options: Any
    stages: dict[int, CompiledStage]
    conditions: dict[int, Condition]
    plain: Mapping[str, Any]
    shown: Mapping[str, Any]
    names: tuple[str, ...]

    def compiled(self, stage: Stage) -> CompiledStage:
        """Return a stage as it runs."""
        found = self.stages.get(id(stage))
        return found if found is not None and found.stage is stage else _compile_stage(self.definition, stage)

    def condition(self, given: Any, where: str) -> Condition:
        """Return a condition as it is decided."""
        found = self.conditions.get(id(given))
        return compile_condition(given, where) if found is None else found


# From and to plain data.


def defined(given: WorkflowDefinition | Mapping[str, Any]) -> WorkflowDefinition:
    """Return a definition, or the one that plain data describes, each of its fields of its type.

    Raises:
        InvalidInputError: Something of it is wrong.
    """
    if not isinstance(given, WorkflowDefinition | Mapping):
        raise InvalidInputError(f"workflow: a {type(given).__name__} is no definition; give a table", field="")
    name = given.name if isinstance(given, WorkflowDefinition) else given.get("name")
    if not isinstance(name, str):
        raise InvalidInputError(f"workflow: its name is {told(name)}; give a text", field="name")
    where = f"workflow {name:.100}"
    try:
        check_bounds(given)
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {text_of_error(error).removeprefix('value: ')}", field="") from None
    definition = given if isinstance(given, WorkflowDefinition) else _from_dict(given, where)
    _check_types(definition, where)
    for place, branch in enumerate(definition.branches):
        _check_types(branch, f"{where}.branches[{place}]", Branch)
    for stage in stages_of(definition):
        at: Any = stage
        at_stage = f"{where}: stage {told(getattr(stage, 'name', ''))}"
        while at is not None:
            _check_types(at, at_stage, Stage)
            at, at_stage = at.compensate, f"{at_stage}: compensate"
    return definition


def _check_types(thing: Any, where: str, kind: type[Struct] = WorkflowDefinition) -> None:
    if not isinstance(thing, kind):
        raise InvalidInputError(f"{where}: a {type(thing).__name__} is no {kind.__name__}; give one", field=where)
    for name in kind.__struct_fields__:
        value = getattr(thing, name)
        types, wanted = _TYPES.get(name, ((object,), ""))
        endless = name == "timeout_s" and value is None and kind is WorkflowDefinition
        if not isinstance(value, types) or endless or (name == "timeout_s" and isinstance(value, bool)):
            raise InvalidInputError(f"{where}: its {name} is {told(value)}; give {wanted}", field=name)
    if isinstance(thing, Stage) and not all(isinstance(need, str) for need in thing.needs):
        raise InvalidInputError(f"{where}: its needs hold what is no text; give names of stages", field="needs")


def _from_dict(given: Mapping[str, Any], where: str) -> WorkflowDefinition:
    fields = {key: value for key, value in given.items() if key in _DEFINITION}
    options = {key: value for key, value in given.items() if key not in _DEFINITION}
    fields["options"] = {**_mapping(fields.get("options", {}), f"{where}.options"), **options}
    fields["stages"] = _stages(fields.get("stages", ()), f"{where}.stages")
    fields["branches"] = tuple(
        _branch(each, f"{where}.branches[{place}]")
        for place, each in enumerate(_list(fields.get("branches", ()), f"{where}.branches"))
    )
    if fields.get("reduce") is not None:
        fields["reduce"] = _stage(fields["reduce"], f"{where}.reduce")
    return WorkflowDefinition(**fields)


def _stages(given: Any, where: str) -> tuple[Stage, ...]:
    return tuple(_stage(each, f"{where}[{place}]") for place, each in enumerate(_list(given, where)))


def _stage(given: Any, where: str) -> Stage:
    if isinstance(given, Stage):
        return given
    fields = dict(_mapping(given, where))
    said = [kind for kind in _KINDS if kind in fields]
    if len(said) + ("address" in fields) + ("function" in fields) != 1:
        raise InvalidInputError(
            f"{where}: say what runs, by one of {', '.join(_KINDS)}, address, function", field=where
        )
    if said:
        target = fields.pop(said[0])
        if not isinstance(target, str):
            raise InvalidInputError(f"{where}: its {said[0]} is {told(target)}; give a text", field=where)
        fields["address"] = f"{said[0]}:{target}"
    _check_fields(fields, _STAGE, where)
    if fields.get("retry") is not None:
        fields["retry"] = _fitted(fields["retry"], Retries, f"{where}.retry")
    if fields.get("compensate") is not None:
        undo = fields["compensate"]
        named = {"name": f"undo {fields.get('name', '')}"[:100], **undo} if isinstance(undo, Mapping) else undo
        fields["compensate"] = _stage(named, f"{where}.compensate")
    if "needs" in fields:
        fields["needs"] = tuple(_list(fields["needs"], f"{where}.needs"))
    fields.setdefault("name", "")
    return Stage(**fields)


def _branch(given: Any, where: str) -> Branch:
    if isinstance(given, Branch):
        return given
    fields = dict(_mapping(given, where))
    _check_fields(fields, _BRANCH, where)
    fields["stages"] = _stages(fields.get("stages", ()), f"{where}.stages")
    fields.setdefault("name", "")
    return Branch(**fields)


def to_dict(definition: WorkflowDefinition) -> dict[str, Any]:
    """Return a definition as plain data; functions by their names, which `defined` does not take back."""
    plain: dict[str, Any] = {"name": definition.name, "pattern": definition.pattern}
    for field, default in _defaults(WorkflowDefinition):
        value = getattr(definition, field)
        if field in ("name", "pattern") or value == default:
            continue
        if field == "stages":
            value = [_plain_stage(stage) for stage in value]
        elif field == "branches":
            value = [_plain_branch(branch) for branch in value]
        elif field == "reduce":
            value = _plain_stage(value)
        plain[field] = _plain(value)
    return plain


def _plain_stage(stage: Stage) -> dict[str, Any]:
    plain = {"name": stage.name}
    for field, default in _defaults(Stage):
        value = getattr(stage, field)
        if field == "name" or value is default or value == default:
            continue
        if field == "compensate":
            value = _plain_stage(value)
        elif field == "retry":
            value = structs.asdict(value)
        plain[field] = _plain(value)
    return plain


def _plain_branch(branch: Branch) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": branch.name, "stages": [_plain_stage(stage) for stage in branch.stages]}
    for field, default in _defaults(Branch):
        value = getattr(branch, field)
        if field not in plain and value is not default and value != default:
            plain[field] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    if callable(value):
        return getattr(value, "__name__", "function")
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@cache  # 0.3 ms each time
def _defaults(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    fields = structs.fields(kind)
    return tuple((each.name, {} if each.default_factory is not msgspec.NODEFAULT else each.default) for each in fields)


# Compiled.


def compile_definition(definition: WorkflowDefinition, pattern: Pattern) -> Plan:
    """Return a definition as it runs.

    Raises:
        InvalidInputError: Something of it is wrong.
    """
    where = f"workflow {definition.name}"
    _check_name(definition.name, where, "name")
    _check_definition(definition, where)
    options = _options(definition, pattern, where)
    problem = pattern.problem(definition, options)
    if problem:
        raise InvalidInputError(f"{where}: {problem}", field="stages")
    try:
        stages = {id(stage): _compile_stage(definition, stage) for stage in stages_of(definition)}
        conditions = _compile_conditions(definition, options, where)
    except RecursionError:
        message = f"{where}: a condition is nested too deeply, or a stage undoes itself; flatten it"
        raise InvalidInputError(message, field="stages") from None
    names = tuple(dict.fromkeys(stage.name for stage in stages_of(definition)))
    _check_references(definition, pattern, conditions, where)
    plain = to_dict(definition)
    return Plan(definition, pattern, options, stages, conditions, plain, hide_value(plain), names)


def endless(plan: Plan) -> Iterator[str]:
    """Yield a line for each stage whose ``timeout_s`` bounds nothing, since a sync function cannot be cut off."""
    for stage in stages_of(plan.definition):
        function: Any = stage.function
        if function is None or stage.timeout_s is None:
            continue
        while isinstance(function, partial):
            function = function.func
        if not iscoroutinefunction(function) and not iscoroutinefunction(type(function).__call__):
            told = f"workflow {plan.definition.name}: stage {stage.name}: timeout_s cannot cut off a sync function"
            yield f"{told}, which holds up all else meanwhile; make it async, and await a thread in it"


def stages_of(definition: WorkflowDefinition) -> Iterator[Stage]:
    """Yield every stage."""
    yield from definition.stages
    for branch in definition.branches:
        yield from branch.stages
    if definition.reduce is not None:
        yield definition.reduce


def _compile_stage(definition: WorkflowDefinition, stage: Stage) -> CompiledStage:
    where = f"workflow {definition.name}: stage {stage.name}"
    _check_name(stage.name, where, "name")
    if (stage.function is None) == (not stage.address):
        raise InvalidInputError(f"{where}: say what runs, by an address or by a function", field="address")
    if stage.function is not None and not callable(stage.function):
        raise InvalidInputError(f"{where}: {told(stage.function)} is no function; give one", field="function")
    kind, colon, target = stage.address.partition(":")
    if stage.address and not (kind and colon and target):
        raise InvalidInputError(f"{where}: {told(stage.address)} leads nowhere; write kind:name", field="address")
    if stage.on_error not in _STRATEGIES:
        raise InvalidInputError(f"{where}: on_error is {told(stage.on_error, 40)}; write {_known()}", field="on_error")
    if stage.timeout_s is not None:
        _check_time(stage.timeout_s, where)
    strategy = stage.on_error or definition.on_error or "fail_fast"
    retry = stage.retry or (Retries() if strategy == "retry" else None)
    if retry is not None:
        _check_retry(retry, where)
    name = f"{definition.name}.{stage.name}"
    return CompiledStage(
        stage,
        kind if stage.address else "function",
        target if stage.address else getattr(stage.function, "__name__", "function"),
        ComponentRef("workflow_stage", name, f"workflow_stage:{name}"),
        compile_value(stage.input, f"{where}: input") or _afresh(stage.input),
        None if retry is not None and retry.attempts == 1 else retry,
        strategy,
        None if stage.compensate is None else _compile_stage(definition, stage.compensate),
        tuple(dict.fromkeys([*stage.needs, *needed(stage.input)])),
    )


def _check_retry(retry: Retries, where: str) -> None:
    for name in Retries.__struct_fields__:
        value, least = getattr(retry, name), 1 if name in ("attempts", "backoff") else 0
        most = 1 if name == "jitter" else _MOST
        if not isinstance(value, int | float) or not least <= value <= most or value == _MOST:
            wanted = "from 0 to 1" if name == "jitter" else f"from {least}"
            message = f"{where}: retry.{name} is {told(value, 40)}; give a number {wanted}"
            raise InvalidInputError(message, field="retry")


def needed(value: Any) -> Iterator[str]:
    """Yield the stages whose outputs a value cannot do without."""
    for reference in references_of(value):
        if reference.root == "step" and reference.field == "output" and reference.filter != "default":
            yield reference.names[0]


def _afresh(value: Any) -> Resolve | None:
    """Return what makes the value anew, so that no stage changes what the next run is given."""
    return (lambda scene: _copy(value)) if isinstance(value, Mapping | list) else None


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _check_definition(definition: WorkflowDefinition, where: str) -> None:
    if definition.on_error not in _STRATEGIES:
        raise InvalidInputError(
            f"{where}: on_error is {told(definition.on_error, 40)}; write {_known()}", field="on_error"
        )
    _check_time(definition.timeout_s, where)
    if definition.on_cancel not in ("", "compensate"):
        raise InvalidInputError(f"{where}: on_cancel is {told(definition.on_cancel, 40)}; write compensate, or nothing")
    _check_unique([stage.name for stage in definition.stages], where, "stage")
    _check_unique([branch.name for branch in definition.branches], where, "branch")
    for branch in definition.branches:
        _check_name(branch.name, f"{where}: branch {branch.name}", "name")
        if branch.timeout_s is not None:
            _check_time(branch.timeout_s, f"{where}: branch {branch.name}")
        _check_unique([stage.name for stage in branch.stages], f"{where}: branch {branch.name}", "stage")


def _check_time(seconds: float, where: str) -> None:
    if not 0 < seconds < _MOST:
        message = f"{where}: timeout_s is {told(seconds, 40)}; give more than 0, and less than a million years"
        raise InvalidInputError(message, field="timeout_s")


def _options(definition: WorkflowDefinition, pattern: Pattern, where: str) -> Any:
    if pattern.Options is None:
        if definition.options:
            first = next(iter(definition.options))
            raise _no_option(first, pattern, (), where)
        return None
    try:
        return pattern.Options.model_validate(dict(definition.options))
    except ValidationError as error:
        wrong = first_problem(pattern.Options, error)
        field = ".".join(map(str, wrong.path))
        known = [given.alias or name for name, given in pattern.Options.model_fields.items()]
        if wrong.kind == "extra_forbidden" and len(wrong.path) == 1:
            raise _no_option(field, pattern, known, where) from None
        message = f"{where}: {field}: {wrong.words}; the pattern {pattern.name} takes {', '.join(known)}"
        raise InvalidInputError(message, field=field) from None


def _no_option(name: Any, pattern: Pattern, known: Sequence[str], where: str) -> InvalidInputError:
    fields = {*_DEFINITION, *known} - {"options"}
    meant = _OTHERWISE.get(name) if _OTHERWISE.get(name) in fields else None
    close = [meant] if meant else difflib.get_close_matches(str(name), sorted(fields), 1)
    advice = f"did you mean {close[0]}? " if close else ""
    takes = f"takes {', '.join(known)}" if known else "takes no options"
    message = f"{where}: there is no {told(name)}; {advice}the pattern {pattern.name} {takes}"
    return InvalidInputError(message, field=str(name))


def _compile_conditions(definition: WorkflowDefinition, options: Any, where: str) -> dict[int, Condition]:
    """Return the conditions of branches, and those that options hold under ``break_when`` and ``while``."""
    found = {}
    for branch in definition.branches:
        if branch.condition is not None:
            found[id(branch.condition)] = compile_condition(branch.condition, f"{where}: branch {branch.name}")
    for field in ("break_when", "while_"):
        given = getattr(options, field, None)
        for each in given if isinstance(given, list | tuple) else () if given is None else (given,):
            found[id(each)] = compile_condition(each, f"{where}: {field.rstrip('_')}")
    return found


def _check_references(
    definition: WorkflowDefinition,
    pattern: Pattern,
    conditions: Mapping[int, Condition],
    where: str,
) -> None:
    branches = {branch.name: [stage.name for stage in branch.stages] for branch in definition.branches}
    above = [stage.name for stage in definition.stages]
    apart = getattr(pattern, "apart", False) and not definition.branches
    if apart:  # each is a branch of its own
        branches = {name: [name] for name in above}
        _check_apart(definition.stages, where)
    for row in (definition.stages, *(branch.stages for branch in definition.branches)):
        order = [stage.name for stage in row]
        names = list(dict.fromkeys([*order, *above]))  # of another branch it says branch:NAME:
        for place, stage in enumerate(row):
            at = f"{where}: stage {stage.name}"
            late = order[place:] if pattern.ordered and not apart else ()
            _check_input(stage.input, at, names, branches, late)
            if stage.compensate is not None:
                _check_input(stage.compensate.input, f"{at}: compensate", names, branches, ())
            for need in stage.needs:
                _check_step(need, f"{at}: needs", names, ())
    if definition.reduce is not None:
        _check_input(definition.reduce.input, f"{where}: reduce", above, branches, ())
    for condition in conditions.values():
        for step in condition.steps:
            _check_step(step, f"{where}: condition {condition.text}", above, ())


def _check_input(
    value: Any, where: str, names: Sequence[str], branches: Mapping[str, list[str]], late: Sequence[str]
) -> None:
    for reference in references_of(value):
        if reference.root == "step":
            _check_step(reference.names[0], f"{where}: {{{{{reference.text}}}}}", names, late)
        elif reference.root == "branch":
            branch, step = reference.names
            if branch not in branches:
                raise _unknown(f"{where}: {{{{{reference.text}}}}}", "branch", branch, branches)
            _check_step(step, f"{where}: {{{{{reference.text}}}}}", branches[branch], ())


def _check_apart(stages: Sequence[Stage], where: str) -> None:
    """Check that no stage names one that runs beside it as if that came before."""
    names = {stage.name for stage in stages}
    for stage in stages:
        steps = [each for each in references_of(stage.input) if each.root == "step" and each.names[0] in names]
        needs = [need for need in stage.needs if need in names]
        if steps:
            other, said = steps[0].names[0], f"{{{{{steps[0].text}}}}}"
            remedy = f"write {{{{branch:{other}:{other}}}}} with a default, or choose the pattern graph"
        elif needs:
            other, said, remedy = needs[0], "needs", "choose the pattern graph"
        else:
            continue
        message = f"{where}: stage {stage.name}: {said}: {other!r} runs beside it, in a branch of its own; {remedy}"
        raise InvalidInputError(message, field="input")


def _check_step(name: str, where: str, names: Sequence[str], late: Sequence[str]) -> None:
    if name not in names:
        raise _unknown(where, "stage", name, names)
    if name in late:
        raise InvalidInputError(f"{where}: stage {name!r} does not come before; name an earlier one", field="input")


def _unknown(where: str, what: str, name: str, known: Iterable[str]) -> InvalidInputError:
    close = ", ".join(difflib.get_close_matches(name, list(known), 3, 0.0))
    advice = f"the nearest are {close}" if close else f"it has no {what} that could be named here; leave that out"
    return InvalidInputError(f"{where}: there is no {what} {told(name)}; {advice}", field="input")


def _check_name(name: Any, where: str, field: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"{where}: the name {told(name)} cannot be; write letters, digits, blanks and _ - ., at most 100"
        raise InvalidInputError(message, field=field)


def _check_unique(names: Sequence[str], where: str, what: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidInputError(f"{where}: there are two of the {what} {told(name)}; rename one", field="name")


def _check_fields(fields: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for name in fields:
        if name not in known:
            close = ", ".join(difflib.get_close_matches(str(name), sorted(known), 3, 0.0))
            raise InvalidInputError(f"{where}: there is no {told(name)}; the nearest are {close}", field=where)


def _fitted(value: Any, kind: Callable[..., Any], where: str) -> Any:
    if isinstance(value, Struct):
        return value
    try:
        return msgspec.convert(dict(value) if isinstance(value, Mapping) else value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # a key with half of a letter
        raise InvalidInputError(
            f"{where}: {line_of_error(error)}; give {', '.join(Retries.__struct_fields__)}", field=where
        ) from None


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{where}: a {type(value).__name__} is no table; give one", field=where)
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidInputError(f"{where}: a {type(value).__name__} is no list; give one", field=where)
    return value


def _known() -> str:
    return ", ".join(strategy for strategy in _STRATEGIES if strategy)
