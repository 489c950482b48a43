"""Composites: hooks that are asked together and answer as one.

Four modes, as the original names them. ``sequential``: in the order in which they are listed, each sees what the one
before left. ``first_match``: the first that answers anything but Continue and Skipped. ``parallel``: all are asked at
once, about the same subject. ``voting``: as parallel, and the result that enough of them answer counts. A child is a
function (marked with `hookimpl`, where it has options), another composite, or the name of a plugin or of a
``plugin.hook`` that is registered by itself. A composite is registered as a function is.

Invariant: a composite is made of transforms. Guards and observers among the children stand as what they are, so that
nothing outvotes a guard. It is immutable, so it cannot hold itself; what names lead to is checked where it is
registered. At most 64 children each, 256 in all, 8 deep.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, TypeAlias, get_args

from .context import HookContext
from .errors import HookRegistrationError
from .marker import HookKind, HookOptions, Priority
from .signature import name_of
from .spelling import told

__all__ = [
    "Child",
    "Composite",
    "Mode",
    "TieBreak",
    "first_match",
    "options_of_child",
    "parallel",
    "sequential",
    "voting",
]

_CHILDREN: Final = 64
_LEAVES: Final = 256
_DEPTH: Final = 8
_MARK: Final = "llmspell_options"
TieBreak: TypeAlias = Literal["first", "continue", "action", "precedence"]
"""Which of two results with as many votes counts: the one that a child listed first answered, Continue if it is one of
them, the first that is not Continue or Skipped, or the one that comes first in `composition.PRECEDENCE`."""


class Mode(enum.StrEnum):
    """How the children are asked."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    FIRST_MATCH = "first_match"
    VOTING = "voting"


class Composite:
    """Hooks that answer as one; `sequential`, `parallel`, `first_match` and `voting` make them.

    Args:
        mode: How they are asked.
        children: Functions, composites, and names of plugins or hooks.
        name: What it is called where it is registered without a name, and in ``prefer``; the mode if empty.
        threshold: For voting, which part of those asked must agree, above 0 and up to 1.
        tie: For voting, what counts if several results have as many votes.
        prefer: Names of children; the first of those that change the same in different ways wins.
        on_error: What a conflict does: ``raise`` fails the operation, ``continue`` passes the composite over.

    Raises:
        HookRegistrationError: An argument is wrong, a child cannot be one, or there are too many.
    """

    def __init__(
        self,
        mode: Mode | str,
        children: Sequence[Child] = (),
        *,
        name: str = "",
        threshold: float = 0.5,
        tie: TieBreak = "first",
        prefer: Sequence[str] = (),
        on_error: Literal["continue", "raise"] = "raise",
    ) -> None:
        self.__name__ = name or str(mode)
        self.mode = self._checked_mode(mode)
        if isinstance(children, str | Mapping) or not isinstance(children, Iterable):
            self._refuse(f"children={told(children)} is none", "give a list of functions, composites or names of hooks")
        if isinstance(prefer, Mapping) or not isinstance(prefer, Iterable):
            self._refuse(f"prefer={told(prefer)} is none", "give a list of names of children")
        self.children = tuple(children)
        self.threshold = threshold
        self.tie = tie
        self.prefer = (prefer,) if isinstance(prefer, str) else tuple(prefer)
        self.on_error = on_error
        self.depth: int = 1 + max((child.depth for child in self.children if isinstance(child, Composite)), default=0)
        self.leaves: int = sum(child.leaves if isinstance(child, Composite) else 1 for child in self.children)
        self._check()
        self.names = tuple(self._names())
        unknown = [each for each in self.prefer if each not in self.names]
        if unknown:
            self._refuse(f"prefer names {unknown[0]!r}", f"its children are {', '.join(self.names) or 'none'}")

    def __call__(self, context: HookContext[Any]) -> NoReturn:
        """Refuse: a composite is asked where it is registered.

        Raises:
            HookRegistrationError: Always.
        """
        self._refuse("it is not called", "register it at a point")

    @property
    def functions(self) -> Iterator[Callable[..., Any]]:
        """The functions in it and in those within it."""
        for child in self.children:
            if isinstance(child, Composite):
                yield from child.functions
            elif not isinstance(child, str):
                yield child

    @property
    def words(self) -> Iterator[str]:
        """The names of hooks in it and in those within it."""
        for child in self.children:
            if isinstance(child, Composite):
                yield from child.words
            elif isinstance(child, str):
                yield child

    def _checked_mode(self, mode: Mode | str) -> Mode:
        try:
            return Mode(mode)
        except ValueError:
            known = ", ".join(each.value for each in Mode)
            return self._refuse(f"the mode {str(mode)[:80]!r} is none", f"use one of {known}")

    def _check(self) -> None:
        for child in self.children:
            options = None if isinstance(child, str) else options_of_child(child)
            if options is None and not (isinstance(child, str) and child.strip() == child != ""):
                shown = repr(child)[:80]
                self._refuse(f"{shown} is no child", "give functions, composites or names of hooks")
            if isinstance(child, Composite) and _MARK in vars(child):
                self._refuse(f"{child.__name__} within it has options", "only the outermost one has any")
            if options is not None and not isinstance(child, Composite):
                self._check_options(name_of(child), options)  # type: ignore[arg-type]
        for what, count, most in (
            ("children", len(self.children), _CHILDREN),
            ("children in all", self.leaves, _LEAVES),
            ("levels", self.depth, _DEPTH),
        ):
            if count > most:
                self._refuse(f"it has {count} {what}, and {most} are the most", "make it smaller")
        if isinstance(self.threshold, bool) or not (
            isinstance(self.threshold, int | float) and 0 < self.threshold <= 1
        ):
            self._refuse(f"the threshold {self.threshold!r} is none", "give a part above 0 and up to 1")
        if self.tie not in get_args(TieBreak):
            self._refuse(f"tie={self.tie!r} is none", f"use one of {', '.join(get_args(TieBreak))}")
        if self.on_error not in ("continue", "raise"):
            self._refuse(f"on_error={self.on_error!r} is none", "use 'continue' or 'raise'")

    def _check_options(self, name: str, options: HookOptions) -> None:
        if options.kind is HookKind.WRAP:
            self._refuse(f"{name} is a wrap", "register it by itself: wraps enclose each other anyway")
        if options.kind is HookKind.TRANSFORM and (
            options.before or options.after or options.priority != Priority.NORMAL
        ):
            self._refuse(f"{name} has a priority or an order", "list it where it is to come")

    def _names(self) -> Iterator[str]:
        """Yield what each child is called, each another name."""
        seen: dict[str, int] = {}
        for child in self.children:
            name = child if isinstance(child, str) else (options_of_child(child) or HookOptions()).name
            name = name or name_of(child)  # type: ignore[arg-type]
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f"{name}_{seen[name]}"

    def _refuse(self, problem: str, remedy: str) -> NoReturn:
        raise HookRegistrationError(f"composite {self.__name__[:80]}: {problem}; {remedy}", hook=self.__name__)


Child: TypeAlias = Callable[..., Any] | Composite | str


def options_of_child(child: Child) -> HookOptions | None:
    """Return how a child is called: as it is marked, or as a plain transform; None if it cannot be one."""
    if not callable(child):
        return None
    options = getattr(child, _MARK, None)
    return options if isinstance(options, HookOptions) else HookOptions()


def sequential(*children: Child, name: str = "", on_error: Literal["continue", "raise"] = "raise") -> Composite:
    """Return a composite whose children are asked in order, each about what the one before left."""
    return Composite(Mode.SEQUENTIAL, children, name=name, on_error=on_error)


def first_match(*children: Child, name: str = "", on_error: Literal["continue", "raise"] = "raise") -> Composite:
    """Return a composite that answers what the first of its children answers that has anything to say."""
    return Composite(Mode.FIRST_MATCH, children, name=name, on_error=on_error)


def parallel(
    *children: Child, name: str = "", prefer: Sequence[str] = (), on_error: Literal["continue", "raise"] = "raise"
) -> Composite:
    """Return a composite whose children are asked at once, about the same subject; see `Composite`."""
    return Composite(Mode.PARALLEL, children, name=name, prefer=prefer, on_error=on_error)


def voting(
    *children: Child,
    name: str = "",
    threshold: float = 0.5,
    tie: TieBreak = "first",
    prefer: Sequence[str] = (),
    on_error: Literal["continue", "raise"] = "raise",
) -> Composite:
    """Return a composite that answers what enough of its children answer; see `Composite`."""
    return Composite(Mode.VOTING, children, name=name, threshold=threshold, tie=tie, prefer=prefer, on_error=on_error)
