"""What people write for a pydantic model: its fields by their aliases, and keys that it does not take, however deep.

Invariant: a key that any alias, alias choice or field name of the model takes is none of them.
"""

from __future__ import annotations

import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from .bounds import check_bounds
from .spelling import meant

__all__ = [
    "Problem",
    "UnknownKey",
    "as_given",
    "first_problem",
    "models_at",
    "unknown_keys",
    "validate",
    "without_keys",
    "written_names",
    "written_path",
]

_PLAIN = {"a valid tuple": "a list", "a valid list": "a list", "a valid string": "a text"} | {
    "a valid dictionary": "a table, or an object in JSON",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
}
"""What people who know no Python call what a value should be."""
_PYTHON = re.compile("|".join(_PLAIN))
_CLASS = re.compile(r" or instance of \w+")
_WORDS = re.compile(r"'((?:[^'\\]|\\.)*)'")


Model = TypeVar("Model", bound=BaseModel)


class UnknownKey(Struct, frozen=True):
    """A key that a model does not take.

    Attributes:
        path: The keys that lead to it, itself last.
        nearest: The key that was probably meant; empty if none is near.
    """

    path: tuple[str, ...]
    nearest: str = ""

    @property
    def dotted(self) -> str:
        """The path, joined by dots."""
        return ".".join(self.path)


def unknown_keys(model: type[BaseModel], given: Mapping[str, Any]) -> list[UnknownKey]:
    """Return the keys that the model, or one within it, does not take; none where it takes any.

    Args:
        model: What the table is for.
        given: The table.

    Raises:
        InvalidInputError: It is nested too deeply, or holds itself.
    """
    check_bounds(given)
    return list(_unknown(model, given, ()))


def without_keys(given: Mapping[str, Any], unknown: Sequence[UnknownKey]) -> dict[str, Any]:
    """Return the table without these keys; what holds none of them is shared."""
    kept = dict(given)
    inner: dict[str, list[UnknownKey]] = {}
    for key in unknown:
        if len(key.path) == 1:
            kept.pop(key.path[0], None)
        else:
            inner.setdefault(key.path[0], []).append(UnknownKey(key.path[1:]))
    for name, deeper in inner.items():
        kept[name] = without_keys(kept[name], deeper)
    return kept


def validate(model: type[Model], given: Any) -> Model:
    """Return what is given as the model has it; a key that it does not take is refused, misspelt as it may be.

    A model that says ``extra="allow"`` takes any.

    Raises:
        ValidationError: It does not fit.
    """
    try:
        return model.model_validate(given, extra="forbid")
    except ValidationError as error:
        if not all(_is_allowed(model, each["type"], each["loc"]) for each in error.errors(include_input=False)):
            raise
    return model.model_validate(given)


class Problem(Struct, frozen=True):
    """What is wrong with a value that does not fit a model.

    Attributes:
        where: Its place as people write it, joined by dots; empty for the whole.
        path: Its place as pydantic has it.
        kind: What pydantic calls it.
        words: What people are told of it, without the value, which may be secret.
    """

    where: str
    path: tuple[int | str, ...]
    kind: str
    words: str


def first_problem(model: type[BaseModel], error: ValidationError) -> Problem:
    """Return what people are told of an error of a model's.

    A key that the model does not take comes first: what is missing was probably meant by it.

    Args:
        model: What did not fit.
        error: What pydantic says.
    """
    found = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    place = found["loc"]
    return Problem(written_path(model, place), place, found["type"], _told(model, found))


def as_given(model: type[BaseModel], given: Iterable[str], field: str) -> str:
    """Return how a field is spelled in what was given: people know it by the name that they wrote.

    Args:
        model: What was given something.
        given: The keys that it was given.
        field: Any spelling of one of its fields.

    Returns:
        The spelling that was given; the one that was asked for if none was, or if it is no field.
    """
    written = frozenset(given)
    spelled = next((each for each in _spellings(model) if field in each), (field,))
    return next((each for each in spelled if each in written), field)


def _spellings(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """All that people may write for each field, the first of them first."""
    by_name = _any_name(model)
    for key, field in model.model_fields.items():
        yield tuple(dict.fromkeys((*_names(key, field, False), *_names(key, field, by_name))))


def _told(model: type[BaseModel], found: Mapping[str, Any]) -> str:
    kind, said = found["type"], found["msg"]
    if kind == "extra_forbidden":
        around = models_at(model, found["loc"])
        for spelled in (each for inner in around for each in _spellings(inner)):
            if found["loc"][-1] in spelled:  # pydantic took the one that stands before it
                return f"it means the same as {spelled[0]}, which is there, too; give one of them"
        known = {name for each in around for name in written_names(each)}
        near = meant(str(found["loc"][-1]), known, "")
        return f"there is none of this name{near and f'; {near}'}"
    if kind == "missing":
        return "it is missing"
    if kind == "string_unicode":
        return "it holds bytes that are no text in UTF-8; give a text, or Base64 or hex where those are taken"
    if kind in ("literal_error", "enum"):
        return f"it should be {_one_of(str(found['ctx']['expected']), found['input'])}"
    if kind == "union_tag_invalid":
        about = found["ctx"]
        return f"its {about['discriminator'].strip(chr(39))} should be {_one_of(about['expected_tags'], about['tag'])}"
    if kind == "union_tag_not_found":
        return f"it has no {found['ctx']['discriminator'].strip(chr(39))}, which says what else it holds"
    said = re.sub(r"^\w+ should ", "it should ", said.removeprefix("Value error, ").split(", unable")[0])
    return _PYTHON.sub(lambda found: _PLAIN[found[0]], _CLASS.sub("", said))


def _one_of(expected: str, given: Any) -> str:
    """The words that pydantic expects, and the one that was probably meant."""
    words = _WORDS.findall(expected)
    near = meant(given[:80].lower(), words, "") if isinstance(given, str) else ""  # else it may not be printable
    return f"{'one of ' if len(words) > 1 else ''}{', '.join(words) or expected}{near and f'; {near}'}"


def models_at(model: type[BaseModel], path: Sequence[int | str]) -> set[type[BaseModel]]:
    """Return the models that may stand around the last key of a place."""
    models = {model}
    for part in path[:-1]:
        fields = [each.model_fields[str(part)].annotation for each in models if str(part) in each.model_fields]
        if fields:
            models = {inner for field in fields for inner in _models_in(field)}
    return models


def written_names(model: type[BaseModel]) -> list[str]:
    """Return what people write for the fields of a model, as its schema has it: aliases, or else names."""
    return [_written(key, field) for key, field in model.model_fields.items()]


def written_path(model: type[BaseModel], path: Sequence[int | str]) -> str:
    """Return where an error of a model's is, joined by dots, with what people write for each of its fields."""
    parts: list[str] = []
    inner: type[BaseModel] | None = model
    annotation: Any = model
    for part in path:
        if len(_options(annotation)) > 1:  # pydantic says which of them it tried; nobody wrote that there
            annotation, inner = None, _tagged(annotation, part)
            continue
        known = inner.model_fields if inner is not None else {}
        found = {name: key for key, field in known.items() for name in _names(key, field, True)}
        key = found.get(str(part), "")
        parts.append(_written(key, known[key]) if key and key == part else str(part))
        annotation = known[key].annotation if key else None
        inner = _model_in(annotation)
    return ".".join(parts)


def _options(annotation: Any) -> list[Any]:
    """What an annotation allows, but ``None``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for each in typing.get_args(annotation) if each is not type(None) for inner in _options(each)]
    return [annotation]


def _tagged(annotation: Any, tag: int | str) -> type[BaseModel] | None:
    """The one of several models that this tag, or name, stands for."""
    for model in _models_in(annotation):
        if model.__name__ == tag:
            return model
        for field in model.model_fields.values():
            if typing.get_origin(field.annotation) is typing.Literal and tag in typing.get_args(field.annotation):
                return model
    return None


def _written(key: str, field: FieldInfo) -> str:
    alias = field.validation_alias or field.alias
    return key if alias is None else next(_names(key, field, False))


def _unknown(model: type[BaseModel], given: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[UnknownKey]:
    if model.model_config.get("extra") == "allow":
        return
    by_name = _any_name(model)
    fields = {name: field for key, field in model.model_fields.items() for name in _names(key, field, by_name)}
    for key, value in given.items():
        field = fields.get(key)
        if field is None:
            near = difflib.get_close_matches(str(key), fields, 1)
            yield UnknownKey((*path, str(key)), near[0] if near else "")
        elif isinstance(value, Mapping):
            inner = _model_in(field.annotation)
            if inner is not None:
                yield from _unknown(inner, value, (*path, str(key)))


def _any_name(model: type[BaseModel]) -> bool:
    config = model.model_config
    return bool(config.get("populate_by_name") or config.get("validate_by_name"))


def _names(key: str, field: FieldInfo, by_name: bool) -> Iterator[str]:
    alias = field.validation_alias or field.alias
    if by_name or alias is None:
        yield key
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, AliasPath):
            yield str(choice.path[0])
        elif choice is not None:
            yield choice


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the one model that an annotation names, also behind ``Annotated`` and beside ``None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _model_in(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(annotation) if option is not type(None)]
        return _model_in(options[0]) if len(options) == 1 else None
    return None


def _is_allowed(model: type[BaseModel], kind: str, path: Sequence[int | str]) -> bool:
    """Whether it is a key that the model around it takes whatever its name is."""
    return kind == "extra_forbidden" and any(
        each.model_config.get("extra") == "allow" for each in models_at(model, path)
    )


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return {annotation}
    return {inner for each in typing.get_args(annotation) for inner in _models_in(each)}
