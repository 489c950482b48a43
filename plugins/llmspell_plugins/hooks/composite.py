"""The plugin composite: hooks of other plugins that are asked together and answer as one, as the settings say.

Each entry is a composite of the contract (see `llmspell_hookspecs.composites`), whose children are named as hooks are
elsewhere in the settings: a plugin, or ``plugin.hook``. ``composite.NAME`` names another entry.

Invariant: what is named and not there is told at start and changes nothing; what is named keeps its settings, its
match, its breaker and its counts. Guards and observers that are named stay where they are.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import Policy, Priority, hookimpl
from llmspell_hookspecs.composites import Composite
from llmspell_hookspecs.marker import priority_of

__all__ = ["CompositeEntry", "CompositeHooks", "CompositeSettings"]


class Together(BaseModel):
    """Hooks that answer as one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["sequential", "parallel", "first_match", "voting"] = Field(description="How they are asked.")
    children: tuple[str | Together, ...] = Field(
        description="Plugins, hooks as plugin.hook, or tables with mode and children of their own."
    )
    threshold: float = Field(default=0.5, gt=0, le=1, description="For voting, which part of those asked must agree.")
    tie: Literal["first", "continue", "action", "precedence"] = Field(
        default="first", description="For voting, which of results with as many votes counts."
    )
    prefer: tuple[str, ...] = Field(
        default=(), description="Children, the first of which counts where they change the same in different ways."
    )
    on_error: Literal["raise", "continue"] = Field(
        default="raise", description="Whether such a conflict fails the operation, or passes the composite over."
    )

    def made(self, name: str = "") -> Composite:
        """Return the composite."""
        children = [each if isinstance(each, str) else each.made() for each in self.children]
        return Composite(
            self.mode,
            children,
            name=name,
            threshold=self.threshold,
            tie=self.tie,
            prefer=self.prefer,
            on_error=self.on_error,
        )


class CompositeEntry(Together):
    """One entry: where it stands, and when it is asked."""

    name: str = Field(min_length=1, description="Which other settings may name it by, as composite.NAME.")
    point: str = Field(description="The hook point, in any spelling.")
    match: str | None = Field(default=None, description="A pattern for the component's name; all if left out.")
    priority: Annotated[int, BeforeValidator(priority_of)] = Field(
        default=int(Priority.NORMAL), description="Among other hooks: highest, high, normal, low, lowest or a number."
    )
    before: tuple[str, ...] = Field(default=(), description="Plugins or hooks that come after it.")
    after: tuple[str, ...] = Field(default=(), description="Plugins or hooks that come before it.")


class CompositeSettings(BaseModel):
    """``[plugins.composite]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hooks: Annotated[tuple[CompositeEntry, ...], Policy.LOCKED] = Field(
        default=(), description="The composites, each a table [[plugins.composite.hooks]]."
    )


class CompositeHooks:
    """The plugin; the host makes one.

    Args:
        settings: Its own.
        services: What it may use of the host; it uses nothing.
    """

    name = "composite"
    Settings: ClassVar[type[BaseModel]] = CompositeSettings

    def __init__(self, settings: CompositeSettings, services: Any) -> None:
        for number, entry in enumerate(settings.hooks):
            mark = hookimpl(
                specname=entry.point,
                name=entry.name,
                match=entry.match,
                priority=entry.priority,
                before=entry.before,
                after=entry.after,
            )
            setattr(self, f"hook_{number}", mark(entry.made(entry.name)))
