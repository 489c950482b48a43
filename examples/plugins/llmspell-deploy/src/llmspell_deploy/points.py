"""The points around a deployment: any hook plugin may stand there."""

from __future__ import annotations

from msgspec import Struct

from llmspell_hookspecs import Failure, HookContext, HookResult, Phase, hookpoint

__all__ = ["Deployment", "after_deploy", "before_deploy", "deploy_error"]


class Deployment(Struct, frozen=True):
    """What is deployed where.

    Attributes:
        target: The target's name.
        version: What is deployed.
        place: Where it lies; empty until it is there.
    """

    target: str
    version: str
    place: str = ""

    def payload(self) -> dict[str, str]:
        """Return what another component is given."""
        return {"version": self.version}


@hookpoint(phase=Phase.BEFORE, topic="deploy")
def before_deploy(context: HookContext[Deployment]) -> HookResult | None:
    """Something is about to be deployed.

    When: once for each attempt.
    Subject: what is deployed where; ``Redirect`` names another target.
    """


@hookpoint(phase=Phase.AFTER, topic="deploy")
def after_deploy(context: HookContext[Deployment]) -> HookResult | None:
    """Something was deployed.

    When: after the target said so.
    Subject: the deployment, with its place.
    """


@hookpoint(phase=Phase.ERROR, topic="deploy", value=Deployment)
def deploy_error(context: HookContext[Failure]) -> HookResult | None:
    """A deployment failed.

    When: after a target raised, or a deadline passed.
    Subject: why.
    """
