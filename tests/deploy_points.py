"""A plugin that declares a point of each phase, as a third party would."""

from __future__ import annotations

from msgspec import Struct

from llmspell_hookspecs import Failure, HookContext, HookResult, Phase, hookpoint

__all__ = ["Deployment"]


class Deployment(Struct, frozen=True):
    """What is deployed.

    Attributes:
        text: Its name.
    """

    text: str = ""


@hookpoint(phase=Phase.BEFORE, topic="deploy")
def before_deploy(context: HookContext[Deployment]) -> HookResult | None:
    """Something is about to be deployed."""


@hookpoint(phase=Phase.AROUND, topic="deploy")
def around_deploy(context: HookContext[Deployment]) -> HookResult | None:
    """Something is deployed."""


@hookpoint(phase=Phase.AFTER, topic="deploy")
def after_deploy(context: HookContext[Deployment]) -> HookResult | None:
    """Something was deployed."""


@hookpoint(phase=Phase.ERROR, topic="deploy", value=Deployment)
def deploy_error(context: HookContext[Failure]) -> HookResult | None:
    """A deployment failed."""


@hookpoint(phase=Phase.DECISION, topic="deploy")
def deploy_choice(context: HookContext[Deployment]) -> HookResult | None:
    """Which one is deployed."""


@hookpoint(phase=Phase.CHECK, topic="deploy")
def deploy_check(context: HookContext[Deployment]) -> HookResult | None:
    """Whether it may be deployed."""


@hookpoint(phase=Phase.NOTICE, topic="deploy")
def deploy_notice(context: HookContext[Deployment]) -> HookResult | None:
    """A deployment is announced."""
