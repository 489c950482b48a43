"""The schemas that are known, and the ways between their versions.

Invariant: what is in it was checked: its versions are versions, its steps compile, and its transitions have no cycle.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import structs

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.globs import is_wild
from llmspell_hookspecs.migration import Custom, Schema, Transition
from llmspell_plugins.services.state_address import check_scope

from .check import checker
from .compile import Transform, compile_steps
from .version import order_of

__all__ = ["Known", "with_functions"]

_NAME: Final = r"[\w.-]{1,64}"


class Known:
    """A schema, checked, with what leads from version to version.

    Args:
        schema: As it was given; what its custom steps call was filled in.

    Raises:
        InvalidInputError: It is wrong.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema, self.where = schema, f"schema {schema.name}"
        if not re.fullmatch(_NAME, schema.name):
            message = f"schema {schema.name[:40]!r}: it is no name; give 1 to 64 letters, digits, '_', '.' or '-'"
            raise InvalidInputError(message, field="name")
        if not is_wild(schema.scope):
            check_scope(schema.scope)
        self._scopes, self._keys = re.compile(translate(schema.scope)), re.compile(translate(schema.keys))
        self._versions = {version.version: version for version in schema.versions}
        named = [*self._versions, *(each for way in schema.transitions for each in (way.source, way.target))]
        if not named:
            raise InvalidInputError(f"{self.where}: it has no version; give it one", field="versions")
        if len(self._versions) < len(schema.versions):
            raise InvalidInputError(f"{self.where}: a version is declared twice; declare each once", field="versions")
        self.versions = tuple(sorted(dict.fromkeys(named), key=lambda version: order_of(self.where, version)))
        self._ways: dict[str, list[Transition]] = {version: [] for version in self.versions}
        for way in schema.transitions:
            if any(other.target == way.target for other in self._ways[way.source]):
                message = f"{self.where}: two transitions lead from {way.source} to {way.target}; keep one"
                raise InvalidInputError(message, field="transitions")
            self._ways[way.source].append(way)
        self._refuse_cycles()
        self._transforms: dict[tuple[str, str, str], Transform] = {}
        for version in schema.versions:
            checker(self.where, version, strict=True)
        for way in schema.transitions:
            compile_steps(f"{self.where}, {way.source} to {way.target}", way.steps)

    def __contains__(self, version: str) -> bool:
        """Return whether it has this version."""
        return version in self._ways

    @property
    def latest(self) -> str:
        """The newest version."""
        return self.versions[-1]

    @property
    def prefix(self) -> str:
        """What the scopes begin with."""
        scope = self.schema.scope
        if not is_wild(scope):
            return f"state:{scope}\n" + _literal(self.schema.keys)
        return f"state:{_literal(scope)}"

    def binds(self, scope: str, key: str) -> bool:
        """Return whether an item is one of its."""
        return self._scopes.match(scope) is not None and self._keys.match(key) is not None

    def binds_place(self, place: str) -> bool:
        """Return whether what lies under a storage's key is one of its."""
        scope, _, key = place.removeprefix("state:").partition("\n")
        return self.binds(scope, key)

    def path(self, start: str, end: str) -> tuple[str, ...]:
        """Return the versions on the shortest way.

        Raises:
            InvalidInputError: There is none.
        """
        for version in (start, end):
            if version not in self._ways:
                known = ", ".join(self.versions)
                message = f"{self.where}: it has no version {version[:40]}; it has {known}"
                raise InvalidInputError(message, field="version")
        before: dict[str, str] = {start: ""}
        waiting = deque([start])
        while waiting and end not in before:
            version = waiting.popleft()
            for way in self._ways[version]:
                if way.target not in before:
                    before[way.target] = version
                    waiting.append(way.target)
        if end not in before:
            raise InvalidInputError(self._gap(start, end, before), field="version")
        path = [end]
        while path[-1] != start:
            path.append(before[path[-1]])
        return tuple(reversed(path))

    def targets(self, start: str) -> tuple[str, ...]:
        """Return the versions that can be reached from one."""
        reached, waiting = {start}, [start]
        while waiting:
            for way in self._ways.get(waiting.pop(), ()):
                if way.target not in reached:
                    reached.add(way.target)
                    waiting.append(way.target)
        return tuple(version for version in self.versions if version in reached and version != start)

    def transform(self, path: Iterable[str], validation: str) -> Transform:
        """Return what brings an item along a path, checked at its ends as the word says."""
        path = tuple(path)
        known = (path[0], path[-1], validation)
        if known not in self._transforms:
            ways = [self._way(*pair) for pair in pairwise(path)]
            strict = validation in ("strict", "paranoid")
            last = None if validation == "none" else self._checker(path[-1], strict=strict)
            after = compile_steps(f"{self.where} to {path[-1]}", (step for way in ways for step in way.steps), last)
            first = self._checker(path[0], strict=False) if strict else None
            self._transforms[known] = after if first is None else _both(first, after)
        return self._transforms[known]

    def calls(self, path: Iterable[str]) -> bool:
        """Return whether a function of somebody else's is called on a path, which may take its time."""
        path = tuple(path)
        ways = [self._way(*pair) for pair in pairwise(path)]
        return any(isinstance(step, Custom) for way in ways for step in way.steps)

    def digest(self, path: Iterable[str]) -> str:
        """Return what is the same as long as the steps on a path are; functions count by their names."""
        from blake3 import blake3

        path = tuple(path)
        ways = [self._way(*pair) for pair in pairwise(path)]
        steps = [
            structs.replace(step, function=None) if isinstance(step, Custom) else step
            for way in ways
            for step in way.steps
        ]
        return blake3(msgspec.msgpack.encode([list(path), steps], enc_hook=repr)).hexdigest(16)

    def _way(self, source: str, target: str) -> Transition:
        for way in self._ways.get(source, ()):
            if way.target == target:
                return way
        message = f"{self.where}: nothing leads from {source} to {target} any more; put that transition back"
        raise InvalidInputError(message, field="transitions")

    def _checker(self, version: str, *, strict: bool) -> Transform | None:
        declared = self._versions.get(version)
        return None if declared is None else checker(self.where, declared, strict=strict)

    def _gap(self, start: str, end: str, reached: Mapping[str, str]) -> str:
        far = ", ".join(version for version in self.versions if version in reached)
        if len(reached) == 1:
            return f"{self.where}: no way leads from {start} to {end}: nothing leads on from {start}; add a transition"
        return f"{self.where}: no way leads from {start} to {end}: it ends after {far}; add a transition to {end}"

    def _refuse_cycles(self) -> None:
        done: set[str] = set()

        def walk(version: str, path: tuple[str, ...]) -> None:
            if version in path:
                cycle = " -> ".join((*path[path.index(version) :], version))
                message = f"{self.where}: its transitions form a cycle, {cycle}; undo a migration with rollback instead"
                raise InvalidInputError(message, field="transitions")
            if version not in done:
                for way in self._ways[version]:
                    walk(way.target, (*path, version))
                done.add(version)

        for version in self.versions:
            walk(version, ())


def with_functions(schema: Schema, named: Mapping[str, Callable[[Any], Any]]) -> Schema:
    """Return a schema whose custom steps have their functions.

    Raises:
        InvalidInputError: There is none of a name.
    """

    def filled(step: Any) -> Any:
        if not isinstance(step, Custom) or callable(step.function):
            return step
        if step.name not in named:
            message = (
                f"schema {schema.name}: the custom step {step.name[:40]!r} has no function; "
                "give it, or name it in plugins.migrations.functions"
            )
            raise InvalidInputError(message, field="steps")
        return structs.replace(step, function=named[step.name])

    ways = tuple(structs.replace(way, steps=tuple(map(filled, way.steps))) for way in schema.transitions)
    return structs.replace(schema, transitions=ways)


def _literal(glob: str) -> str:
    return glob[: next((place for place, sign in enumerate(glob) if sign in "*?["), len(glob))]


def _both(first: Transform, after: Transform) -> Transform:
    def transform(item: Any) -> Any:
        first(item)
        return after(item)

    return transform
