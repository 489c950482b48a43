"""How the verdicts of several interceptors become one: the four profiles of the contract, and no others.

There is no quorum and no most lenient: one denial is enough in each of the four. Invariant: what a profile asks is
resolved when it is made, so records say what was in effect. Source: AGENT-HOOKS-0.1, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from .verdict import ALLOW, Verdict, host_error, unite

__all__ = ["KNOBS", "Composition", "Profile", "Settled", "settle"]

Profile: TypeAlias = Literal["sequential/first_deny", "sequential/run_all", "parallel/strictest", "parallel/unanimous"]
KNOBS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "sequential/first_deny": {"on_approval": ("stop", "resume")},
    "sequential/run_all": {},
    "parallel/strictest": {"on_transform_conflict": ("deny", "approval")},
    "parallel/unanimous": {"on_disagreement": ("deny", "approval")},
}
"""What each profile asks beside its name, and the two answers, the default first."""


class Composition(Struct, frozen=True):
    """A profile and what it asks.

    Attributes:
        profile: Which of the four.
        knobs: The answers to what it asks, each of them.
    """

    profile: Profile = "sequential/first_deny"
    knobs: Mapping[str, str] = MappingProxyType({"on_approval": "stop"})

    @classmethod
    def of(cls, profile: Profile, **given: str | None) -> Composition:
        """Return a composition; what is not given, or not asked by the profile, has no effect."""
        knobs = {name: given.get(name) or words[0] for name, words in KNOBS[profile].items()}
        return cls(profile, knobs)

    @property
    def is_sequential(self) -> bool:
        """Whether each interceptor sees what those before it made of the target."""
        return self.profile.startswith("sequential")

    def wire(self) -> dict[str, Any]:
        """Return it as records have it."""
        return {"profile": self.profile, **self.knobs}


class Settled(Struct, frozen=True):
    """What became of several verdicts.

    Attributes:
        verdict: The one that counts.
        decided_by: Whose it is; None if nobody's.
        applies: Whether it is a transform that is yet to be applied.
    """

    verdict: Verdict
    decided_by: int | None = None
    applies: bool = False


def settle(composition: Composition, given: Sequence[Verdict]) -> Settled:
    """Return what becomes of the verdicts of all interceptors: the strictest counts, with the warnings of all."""
    if composition.profile == "parallel/unanimous":
        if all(verdict.decision == "allow" for verdict in given):
            return Settled(unite(ALLOW, given))
        liftable = composition.knobs["on_disagreement"] == "approval"
        return Settled(unite(host_error("composition_disagreement", liftable=liftable), given))
    denials = [index for index, verdict in enumerate(given) if not verdict.permits]
    if denials:
        final = [index for index in denials if not given[index].is_liftable]
        first = (final or denials)[0]
        return Settled(unite(given[first], given), first)
    transforms = [index for index, verdict in enumerate(given) if verdict.decision == "transform"]
    if not transforms:
        return Settled(unite(ALLOW, given))
    if composition.is_sequential:
        return Settled(unite(given[transforms[-1]], given), transforms[-1])
    if len(transforms) > 1:
        liftable = composition.knobs["on_transform_conflict"] == "approval"
        return Settled(unite(host_error("transform_conflict", liftable=liftable), given))
    return Settled(unite(given[transforms[0]], given), transforms[0], applies=True)
