"""The members of a host declaration, as its schema has them: every object is closed, and nothing is converted.

What no schema can say (which members agree with each other, with this host and with what is registered) stands in
`declaration`. Source: the contract's ``host-declaration-1.0.schema.json``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from .composition import Profile
from .configuration import JCS

__all__ = ["BindingItem", "Document", "Surface"]

Point: TypeAlias = Literal[
    "agent_startup",
    "input",
    "pre_model_call",
    "post_model_call",
    "pre_tool_call",
    "post_tool_call",
    "output",
    "agent_shutdown",
]
Capability: TypeAlias = Literal[
    "model_calls",
    "tool_calls",
    "parallel_tool_calls",
    "streaming",
    "multi_turn",
    "int64_json",
    "bigint_json",
    "incremental_output",
    "host_declaration",
]
Reference: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
TimeoutMs: TypeAlias = Annotated[int, Field(ge=1, le=3_600_000)]
Version: TypeAlias = Annotated[str, Field(pattern=r"^agent-hooks-declaration/[0-9]+\.[0-9]+$")]
Word: TypeAlias = Literal["deny", "approval"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    nullable: ClassVar[frozenset[str]] = frozenset()
    """Where ``null`` means something; elsewhere it is no way to leave a member out."""

    @model_validator(mode="after")
    def _says_no_null(self) -> Self:
        for name in self.model_fields_set - self.nullable:
            if getattr(self, name) is None:
                raise ValueError(f"{name} is null; leave it out")
        return self


def _each_once(words: list[Any]) -> list[Any]:
    if len(set(words)) < len(words):
        raise ValueError("a word stands there twice")
    return words


class _Host(_Closed):
    name: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    version: str | None = Field(default=None, min_length=1, max_length=64)


class _Composition(_Closed):
    profile: Profile = "sequential/first_deny"
    on_approval: Literal["stop", "resume"] = "stop"
    on_disagreement: Word = "deny"
    on_transform_conflict: Word = "deny"


class _Approval(_Closed):
    nullable = frozenset({"resolver", "redactor"})
    resolver: Reference | None = None
    redactor: Reference | None = None


class _Posture(_Closed):
    tool_seam_host_error: Literal["continue", "terminate"] = "continue"


class _Timeouts(_Closed):
    nullable = frozenset({"interceptor_ms", "approval_resolver_ms"})
    interceptor_ms: TimeoutMs | None = 5000
    approval_resolver_ms: TimeoutMs | None = 5000


class _Records(_Closed):
    nullable = frozenset({"max_buffered"})
    max_buffered: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None


class _Configuration(_Closed):
    nullable = frozenset({"identity_provider"})
    mode: Literal["enforce", "evaluate_only"] = "enforce"
    composition: _Composition = _Composition()
    identity_provider: Reference | None = JCS
    approval: _Approval = _Approval()
    posture: _Posture = _Posture()
    timeouts: _Timeouts = _Timeouts()
    records: _Records = _Records()

    @field_validator("identity_provider", mode="after")
    @classmethod
    def _is_no_claim(cls, name: str | None) -> str | None:
        if name is not None and name.startswith("jcs") and name != JCS:
            raise ValueError(f"a name that begins with jcs is {JCS}, and no other")
        return name


class _FirstDeny(_Closed):
    on_approval: Annotated[list[Literal["stop", "resume"]], Field(min_length=1), AfterValidator(_each_once)] = ["stop"]


class _RunAll(_Closed):
    pass


class _Strictest(_Closed):
    on_transform_conflict: Annotated[list[Word], Field(min_length=1), AfterValidator(_each_once)] = ["deny"]


class _Unanimous(_Closed):
    on_disagreement: Annotated[list[Word], Field(min_length=1), AfterValidator(_each_once)] = ["deny"]


class _Profiles(_Closed):
    first_deny: _FirstDeny | None = Field(default=None, alias="sequential/first_deny")
    run_all: _RunAll | None = Field(default=None, alias="sequential/run_all")
    strictest: _Strictest | None = Field(default=None, alias="parallel/strictest")
    unanimous: _Unanimous | None = Field(default=None, alias="parallel/unanimous")


class Surface(_Closed):
    """What a host says that it does."""

    interception_points: (
        Annotated[list[Point], Field(min_length=4, max_length=8), AfterValidator(_each_once)] | None
    ) = None
    capabilities: Annotated[list[Capability], AfterValidator(_each_once)] | None = None
    profiles: _Profiles | None = None
    buffered_output: bool = True
    exposure_bound: str | None = Field(default=None, min_length=1, max_length=512)
    declaration_versions: Annotated[list[Version], Field(min_length=1), AfterValidator(_each_once)] | None = None

    @model_validator(mode="after")
    def _bounds_what_is_not_held_back(self) -> Self:
        if (self.exposure_bound is None) != self.buffered_output:
            raise ValueError("exposure_bound stands there if buffered_output is false, and only then")
        return self


class BindingItem(_Closed):
    """Who is asked, and where."""

    nullable = frozenset({"config", "timeout_ms"})

    id: Reference
    kind: str = Field(max_length=128, pattern=r"^[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_-]*)+$")
    config: Any = Field(default_factory=dict)
    at: Annotated[list[Point], Field(min_length=1), AfterValidator(_each_once)] | None = None
    timeout_ms: TimeoutMs | None = None


class Document(_Closed):
    """A whole document."""

    schema_: str = Field(default="", alias="$schema")
    declaration: str
    spec: str = Field(default="agent-hooks/0.1", pattern=r"^agent-hooks/[0-9]+\.[0-9]+$")
    id: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    host: _Host | None = None
    configuration: _Configuration = _Configuration()
    surface: Surface | None = None
    bindings: Annotated[list[BindingItem], Field(max_length=256)]
    extensions: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Any] = {}
