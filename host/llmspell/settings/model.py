"""The settings: every key, its type, its default, and what those who are not trusted may do to it.

Invariant: each field carries a `Policy`; what a plugin's or tool's own keys permit only they know, so those are locked.
Frozen. Sizes in bytes, durations in seconds unless a name ends in another unit. Sections that only plugins of the box
use stand with those, each an entry point in ``llmspell.settings``, and are composed with the host's own at the end. It
is longer than most because every key of the host stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from llmspell.version import DISTRIBUTION
from llmspell_hookspecs import Policy
from llmspell_hookspecs.host_rules import HostRules
from llmspell_hookspecs.keys import spelled_names, split
from llmspell_hookspecs.masking import conceal, revealed
from llmspell_hookspecs.path_rules import PathRules
from llmspell_hookspecs.sections import GROUP, Names, Section

__all__ = ["PluginSettings", "PluginTable", "Settings"]


class PolicySettings(Section):
    """``[policy]``: what the machine's file, ``/etc/llmspell/llmspell.toml``, keeps to itself."""

    locked: Annotated[Names, Policy.LOCKED] = Field(
        default=(),
        description="Keys and sections that nobody below may change: no user, project, variable, option or code. Only "
        "the machine's file may lock.",
    )

    @field_validator("locked")
    @classmethod
    def _are_keys(cls, value: Names) -> Names:
        for key in value:
            split(key)
        return value


class PluginTable(BaseModel):
    """``[plugins.NAME]``: the host's keys, and beside them the plugin's own."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    enabled: Annotated[bool | None, Policy.LOCKED] = Field(
        default=None, description="Whether it is loaded; wins over plugins.disabled."
    )
    required: Annotated[bool | None, Policy.ON_ONLY] = Field(
        default=None, description="Whether operations are refused while it is not loaded; wins over plugins.required."
    )
    distribution: Annotated[str, Policy.LOCKED] = Field(default="", description="The only package that may bring it.")

    @model_validator(mode="before")
    @classmethod
    def _hide_secrets(cls, value: Any) -> Any:
        return conceal(value)

    @property
    def own(self) -> dict[str, Any]:
        """The plugin's own keys, secrets revealed: hand them to its Settings and to nobody else."""
        own: dict[str, Any] = revealed(self.__pydantic_extra__) if self.__pydantic_extra__ else {}
        return own


_UNSAID: Final = PluginTable.model_construct(enabled=True, required=False)
_OFF: Final = PluginTable.model_construct(enabled=False, required=False)
"""What counts for a plugin of which settings say nothing, and for an optional one."""


class PluginSettings(BaseModel):
    """``[plugins]``: which plugins are loaded."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)
    __pydantic_extra__: dict[str, PluginTable] = Field(init=False)

    disabled: Annotated[Names, Policy.LOCKED] = Field(
        default=(), description="Plugins that are never imported: a name, or group and name such as storage:memory."
    )
    required: Annotated[Names, Policy.SUPERSET_ONLY] = Field(
        default=(), description="Names of plugins without which operations are refused."
    )
    trust: Annotated[Literal["listed", "all"], Policy.LOCKED] = Field(
        default="all", description="Load the plugins of every installed package, or of those in plugins.trusted only."
    )
    trusted: Annotated[Names, Policy.LOCKED] = Field(
        default=(), description="Packages whose plugins load if trust is listed."
    )
    prefer: Annotated[Mapping[str, str], Policy.LOCKED] = Field(
        default={}, description="For a name that two packages bring: the package that wins."
    )


class HookSettings(Section):
    """``[hooks]``: how hooks are called."""

    breaker: Annotated[Literal["default", "production", "conservative", "off"], Policy.LOCKED] = Field(
        default="default", description="The circuit breaker's profile for transforms."
    )
    timeout_s: Annotated[float | None, Policy.LOCKED] = Field(
        default=None, gt=0, description="For async hooks that name no timeout of their own."
    )
    disabled: Annotated[Names, Policy.LOCKED] = Field(
        default=(), description="Hooks that are not called: plugin.hook, or globs."
    )
    final_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=5.0,
        gt=0,
        description="How long each hook may wait once its operation ends or is past its deadline; forks are joined so "
        "long, too.",
    )
    order: Annotated[Names, Policy.LOCKED] = Field(
        default=(),
        description="Which hooks of a kind come first at a point, such as `redact < audit.log`: each is a plugin, a "
        "hook or plugin.hook, and more than two may follow each other.",
    )

    @field_validator("order")
    @classmethod
    def _are_orders(cls, value: Names) -> Names:
        for entry in value:
            names = [name.strip() for name in entry.split("<")]
            if len(names) < 2 or not all(names) or len(set(names)) < len(names):
                raise ValueError("should hold hooks in their order, such as 'redact < audit.log', each named once")
        return value

    @property
    def orders(self) -> tuple[tuple[str, ...], ...]:
        """Return each order as the names in it."""
        return tuple(tuple(name.strip() for name in entry.split("<")) for entry in self.order)


class SecuritySettings(Section):
    """``[security]``: what may be touched."""

    level: Annotated[Literal["safe", "restricted", "privileged"], Policy.LOWER_ONLY] = Field(
        default="privileged", description="The highest level of a component that runs."
    )
    paths: PathRules = PathRules.model_construct()
    hosts: HostRules = HostRules.model_construct()


class LimitSettings(Section):
    """``[limits]``: bounds of operations."""

    depth: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=32,
        ge=1,
        le=100,
        description="How deep operations may nest; above 34 Python's stack may end some ways of nesting sooner.",
    )
    hops: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=8, ge=0, le=1000, description="How often one may be redirected, what it runs within counted with it."
    )
    forks: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=64, ge=0, le=10_000, description="How many forks one operation may start."
    )
    descendants: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="How many operations may run at once within one outermost operation, forks among them.",
    )
    operation_time_s: Annotated[float | None, Policy.LOWER_ONLY] = Field(
        default=None, gt=0, description="The deadline of every operation; none if it is left out."
    )


class ScriptSettings(Section):
    """``[scripts]``: what a script may use."""

    memory_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=50_000_000, ge=1_000_000, description="Of its runtime."
    )
    instructions: Annotated[int, Policy.LOWER_ONLY_ZERO_UNLIMITED] = Field(
        default=0, ge=0, description="Of its runtime, in all; 0 for no limit."
    )
    time_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=30.0, gt=0, description="Of processor time in its runtime."
    )
    callback_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=0.02, gt=0, description="For one slice of a callback."
    )
    slices: Annotated[Literal["thread", "loop"], Policy.LOWER_ONLY] = Field(
        default="thread", description="Where a script runs; loop only for short scripts that are trusted."
    )
    value_items: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=10_000, ge=1, description="Values that it hands to the host at once, those in tables counted."
    )
    value_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=4 * 1024 * 1024, ge=1, description="Text that it hands to the host at once."
    )
    hooks: Annotated[Literal["own", "all"], Policy.LOWER_ONLY] = Field(
        default="own",
        description="Which operations the hooks of a script are asked about: those of its own run, or everybody's.",
    )
    retry_delay_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=60.0, ge=0, description="The longest wait that a script's hook may ask for before a retry."
    )


class PerformanceSettings(Section):
    """``[performance]``: from when on the host gives notice."""

    slow_operation_ms: Annotated[float | None, Policy.LOWER_ONLY] = Field(
        default=None, gt=0, description="An operation that takes longer fires performance_threshold_exceeded."
    )


class EventSettings(Section):
    """``[events]``: how fast a source may publish; who may watch says the plugin that lets them."""

    source_rate: Annotated[float | None, Policy.LOWER_ONLY] = Field(
        default=None, gt=0, description="Events a second that one source may publish in the long run; None for any."
    )
    source_burst: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1000, ge=1, description="Events that one source may publish at once, if source_rate is set."
    )


class LoggingSettings(Section):
    """``[logging]``: what the command line logs; who embeds the host sets up Python's logging."""

    level: Annotated[Literal["debug", "info", "warning", "error", "off"], Policy.FREE] = Field(
        default="warning", description="The least severity that is written."
    )
    format: Annotated[Literal["text", "json"], Policy.FREE] = Field(
        default="text", description="A line for people, or one JSON object a line."
    )
    file: Annotated[str, Policy.LOCKED] = Field(
        default="",
        description="The file that the lines are added to; standard error if empty. Relative to the current folder.",
    )


class _Own(Section):
    """All of llmspell's settings; the sections of plugins are added to these."""

    default_language: Annotated[str, Policy.FREE] = Field(
        default="lua", min_length=1, description="The language of a script whose file name does not tell."
    )
    policy: PolicySettings = PolicySettings.model_construct()
    plugins: PluginSettings = PluginSettings.model_construct()
    hooks: HookSettings = HookSettings.model_construct()
    security: SecuritySettings = SecuritySettings.model_construct()
    limits: LimitSettings = LimitSettings.model_construct()
    scripts: ScriptSettings = ScriptSettings.model_construct()
    performance: PerformanceSettings = PerformanceSettings.model_construct()
    events: EventSettings = EventSettings.model_construct()
    logging: LoggingSettings = LoggingSettings.model_construct()

    def plugin(self, name: str, group: str = "", *, optional: bool = False) -> PluginTable:
        """Return what counts for a plugin, its switches whichever way they are set.

        Its table with that of the name with its group laid over it, key by key: one never hides what only the other one
        says. What they leave open the lists of ``[plugins]`` settle; one that is ``optional`` is loaded only if its
        table says ``enabled = true``.
        """
        if name.rpartition(":")[2] not in self.plugins_mentioned:
            return _OFF if optional else _UNSAID
        spelled, tables = spelled_names(name, group), self.tables("plugins")
        said: dict[str, Any] = {}
        for table in (tables[each] for each in reversed(spelled) if each in tables):
            said |= {key: value for key, value in table if key in table.model_fields_set}
        lists = self.plugins
        if said.get("enabled") is None:
            said["enabled"] = not optional and set(lists.disabled).isdisjoint(spelled)
        if said.get("required") is None:
            said["required"] = not set(lists.required).isdisjoint(spelled)
        said["distribution"] = said.get("distribution") or next(
            filter(None, (lists.prefer.get(each) for each in spelled)), ""
        )
        return PluginTable.model_validate(said)

    def plugin_names(self) -> set[str]:
        """Return every name, with or without its group, under which something is said of a plugin."""
        tables = self.tables("plugins")
        return {*self.plugins.disabled, *self.plugins.required, *self.plugins.prefer, *tables}

    def tables(self, section: str) -> Mapping[str, Any]:
        """Return the tables of plugins in a section by name: those that are spelled ``[tools.NAME]`` of ``tools``."""
        return getattr(self, section).__pydantic_extra__ or {}

    def table(self, section: str, name: str, group: str = "") -> dict[str, Any]:
        """Return a plugin's own settings, secrets revealed, for its Settings model to validate."""
        if section == "plugins":
            return self.plugin(name, group).own
        own: dict[str, Any] = revealed(self.tables(section).get(name, {}))
        return own

    def storage_paths(self) -> tuple[str, ...]:
        """Return where storages are set to lie."""
        tables = self.tables("storage")
        return tuple(str(table["path"]) for table in tables.values() if isinstance(table.get("path"), str | PathLike))

    @cached_property
    def plugins_mentioned(self) -> frozenset[str]:
        """The plugins of which anything is said, by their names without a group."""
        return frozenset(name.rpartition(":")[2] for name in self.plugin_names())

    def required_plugins(self) -> tuple[str, ...]:
        """Return the names of all plugins that are required, as settings spell them."""
        names = dict.fromkeys((*self.plugins.required, *self.tables("plugins")))
        return tuple(name for name in names if self.plugin(name).required)


class _WhenGiven:
    """Marks a section, so that what checks it is built when it is first given values and not with all others."""

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that asks the section's own model, whose errors pydantic takes over with their places."""
        return core_schema.no_info_plain_validator_function(source.model_validate)


def _sections() -> dict[str, Any]:
    """Return the sections: the host's own and those that plugins bring, keys of both in one where both have it.

    Those of the host's own package only: nothing of others is imported before settings say so.
    """
    brought: dict[str, type[BaseModel]] = {}
    for point in DISTRIBUTION.entry_points.select(group=GROUP):
        model: type[BaseModel] = point.load()
        name = point.name.partition(".")[0]
        known = brought.get(name) or getattr(_Own.model_fields.get(name), "annotation", None)
        brought[name] = model if known is None else create_model(known.__name__, __base__=(known, model))
    own: dict[str, Any] = {name: field.annotation for name, field in _Own.model_fields.items() if not field.metadata}
    return {name: (Annotated[model, _WhenGiven()], model.model_construct()) for name, model in (own | brought).items()}


if TYPE_CHECKING:

    class Settings(_Own):
        """All of llmspell's settings."""

else:
    Settings = create_model("Settings", __base__=_Own, __module__=__name__, __doc__=_Own.__doc__, **_sections())
