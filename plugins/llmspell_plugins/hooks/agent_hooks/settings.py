"""``[plugins.agent_hooks]``: who is asked, and how the answers become one. A project's file changes none of it.

Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import Policy

from .composition import KNOBS, Profile

__all__ = ["AgentHooksSettings"]

_PLACE = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
Place = Annotated[str, Field(pattern=_PLACE)]
Optional = Annotated[str, Field(pattern=rf"^$|{_PLACE}")]


class AgentHooksSettings(BaseModel):
    """What the plugin takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interceptors: Annotated[tuple[Place, ...], Policy.LOCKED] = Field(
        default=(), description="Who is asked, in order, as package.module:attribute; with nobody all is denied."
    )
    declaration: Annotated[str, Policy.LOCKED] = Field(
        default="", description="The file of a host declaration that says all this instead."
    )
    profile: Annotated[Profile, Policy.LOCKED] = Field(
        default="sequential/first_deny", description="How the answers become one."
    )
    on_approval: Annotated[Literal["stop", "resume"] | None, Policy.LOCKED] = Field(
        default=None, description="sequential/first_deny: whether those behind a denial that was lifted are asked."
    )
    on_disagreement: Annotated[Literal["deny", "approval"] | None, Policy.LOCKED] = Field(
        default=None, description="parallel/unanimous: whether somebody may lift a disagreement."
    )
    on_transform_conflict: Annotated[Literal["deny", "approval"] | None, Policy.LOCKED] = Field(
        default=None, description="parallel/strictest: whether somebody may settle a conflict."
    )
    mode: Annotated[Literal["enforce", "evaluate_only"], Policy.LOCKED] = Field(
        default="enforce", description="evaluate_only asks and records, and hinders nothing."
    )
    identity_provider: Annotated[Literal["jcs-sha256", "none"], Policy.LOCKED] = Field(
        default="jcs-sha256", description="What identifies contexts in records and approvals."
    )
    resolver: Annotated[Optional, Policy.LOCKED] = Field(
        default="", description="Who lifts denials, as package.module:attribute; else a person, by an approval."
    )
    redactor: Annotated[Optional, Policy.LOCKED] = Field(
        default="", description="A function, as package.module:attribute: what the resolver is shown of a context."
    )
    interceptor_timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=5.0, gt=0, le=3600, description="How long an interceptor may take; then it has denied."
    )
    resolver_timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=5.0, gt=0, le=3600, description="How long the resolver may take; then the denial stands."
    )
    max_context_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1024 * 1024, ge=1024, le=16 * 1024 * 1024, description="How large a context may be; larger is denied."
    )
    max_records: Annotated[int, Policy.LOCKED] = Field(
        default=1000, ge=1, le=1_000_000, description="How many records are kept in memory."
    )

    @model_validator(mode="after")
    def _fits(self) -> AgentHooksSettings:
        alone = {"declaration", "max_context_bytes", "max_records", "interceptors"}
        others = sorted(self.model_fields_set - alone)
        if self.declaration and (self.interceptors or others):
            named = ", ".join([*(["interceptors"] if self.interceptors else []), *others])
            raise ValueError(f"declaration says all that {named} would; leave those out")
        for knob in ("on_approval", "on_disagreement", "on_transform_conflict"):
            if getattr(self, knob) is not None and knob not in KNOBS[self.profile]:
                raise ValueError(f"{knob} is not asked by the profile {self.profile}; leave it out")
        if self.redactor and not self.resolver:
            raise ValueError("redactor has nobody to keep anything from; set resolver, too")
        return self

    def knobs(self) -> dict[str, Any]:
        """Return what the profile asks."""
        return {name: getattr(self, name) for name in KNOBS[self.profile]}
