"""Component kinds that third parties bring: components, points, guards and redirects, with no line of the host."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self, runtime_checkable

import pytest
import trio
from msgspec import Struct
from pydantic import BaseModel

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    HookResult,
    InvalidInputError,
    OperationCancelledError,
    Phase,
    Policy,
    Redirect,
    Services,
    Tool,
    ToolContext,
    hookpoint,
)
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    DepthLimitError,
    OperationTimeoutError,
    PluginRequiredError,
    SecurityError,
    SettingsError,
)
from llmspell_hookspecs.kind import CallOptions, ComponentGroup, ComponentKind, Registries
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.tool import AddressAccess


class Journey(Struct, frozen=True):
    """Where to go."""

    name: str
    stops: tuple[str, ...] = ()


@hookpoint(phase=Phase.BEFORE, topic="journey")
def before_journey(context: HookContext[Journey]) -> HookResult | None:
    """A journey is about to begin."""


@hookpoint(phase=Phase.AFTER, topic="journey")
def after_journey(context: HookContext[Journey]) -> HookResult | None:
    """A journey has ended."""


class Vehicles(Struct, frozen=True):
    """Several."""


class Vehicle(Protocol):
    """What makes journeys."""

    name: ClassVar[str]

    async def go(self, stops: tuple[str, ...]) -> tuple[str, ...]:
        """Return the stops that were reached."""


class Train:
    """A vehicle."""

    name: ClassVar[str] = "train"
    rails = True

    async def go(self, stops: tuple[str, ...]) -> tuple[str, ...]:
        """Wait at each stop."""
        for stop in stops:
            await trio.sleep(10 if stop == "delayed" else 0)
        return stops


@runtime_checkable
class Journeys(Protocol):
    """The kind as a service."""

    def vehicles(self) -> tuple[str, ...]:
        """Return what there is."""


JOURNEY = OperationKind(
    "journey",
    before="before_journey",
    after="after_journey",
    result=Journey,
    payload=lambda value: {"stops": value.stops},
)
GROUP = ComponentGroup("llmspell.vehicles", "vehicle", lambda item: hasattr(item, "rails"))


class JourneyKind(ComponentKind):
    """Runs journeys: ``journey:train``."""

    name = "journey"
    group = GROUP
    provides = Journeys
    points = sys.modules[__name__]

    def __init__(self, settings: None, services: Services) -> None:
        self._vehicles = services.get(Registries).of(GROUP.name)
        self._operations = services.get(Operations)

    def vehicles(self) -> tuple[str, ...]:
        """Return the names of the vehicles."""
        return self._vehicles.names()

    async def run(self, name: str, input: Any, options: CallOptions, /) -> Journey:
        """Run a journey; see `ComponentKind`."""
        vehicle = await self._vehicles.enter(name)
        stops = tuple(input.get("stops", ())) if isinstance(input, Mapping) else ()

        async def body(journey: Journey) -> Journey:
            return Journey(name, await vehicle.go(journey.stops))

        component = ComponentRef("journey", name, f"journey:{name}")
        operation = options.operation(JOURNEY, component, Journey(name, stops), body, time_s=5)
        done: Journey = await self._operations.execute(operation)
        return done


BROUGHT = (JourneyKind, Train)
TAKEN = ComponentGroup("llmspell.tools", "odd", callable)


async def test_a_component_of_a_third_partys_kind_runs_by_its_address() -> None:
    async with opened(*BROUGHT) as host:
        assert (await host.call("journey:train", {"stops": ["a", "b"]})).stops == ("a", "b")
        assert host.get(Journeys).vehicles() == ("train",)
        with pytest.raises(ComponentNotFoundError, match="vehicle 'trian': there is none; did you mean train"):
            await host.call("journey:trian")


async def test_a_guard_on_the_kinds_own_point_denies() -> None:
    async def guard(context: HookContext[Journey]) -> Cancel | None:
        return Cancel("closed") if "b" in context.subject.stops else None

    async with opened(*BROUGHT) as host:
        host.hooks.register("BeforeJourney", guard, kind="guard")
        assert (await host.call("journey:train", {"stops": ["a"]})).stops == ("a",)
        with pytest.raises(OperationCancelledError, match="closed"):
            await host.call("journey:train", {"stops": ["a", "b"]})


async def test_a_redirect_into_the_kind_runs_it_and_is_bounded_like_any_other() -> None:
    async def body(parameters: dict[str, Any], context: Any) -> Any:
        return "not asked"

    async with opened(*BROUGHT, make_tool("walk", body)) as host:
        host.hooks.register("before_tool_execution", lambda context: Redirect("journey:train"), match="walk")
        result = await host.call("tool:walk", {"stops": ["a"]})
        assert result.result == Journey("train", ("a",)) or result.result["stops"] == ("a",)
        host.hooks.register("before_journey", lambda context: Redirect("tool:walk"))
        with pytest.raises(DepthLimitError):
            await host.call("tool:walk")


async def test_the_shorter_deadline_counts(autojump_clock: Any) -> None:
    async with opened(*BROUGHT) as host:
        started_s = trio.current_time()
        with pytest.raises(OperationTimeoutError):
            await host.call("journey:train", {"stops": ["delayed"]}, deadline_s=2)
        assert trio.current_time() - started_s == pytest.approx(2, abs=0.2)
        with pytest.raises(OperationTimeoutError):
            await host.call("journey:train", {"stops": ["delayed"]})
        assert trio.current_time() - started_s == pytest.approx(7, abs=0.4)


def other(context: HookContext[Vehicles]) -> HookResult | None:
    """A point of another subject."""


clashing = types.ModuleType("clashing")
clashing.before_journey = hookpoint(phase=Phase.BEFORE, topic="journey")(other)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (type("Odd", (JourneyKind,), {"name": "odd", "group": TAKEN}), "tool is in it"),
        (type("Odd", (JourneyKind,), {"name": "odd", "__init__": lambda self: 1 / 0}), "its constructor failed"),
        (type("Odd", (ComponentKind,), {"name": "odd"}), "abstract"),
        (type("Odd", (JourneyKind,), {"name": ""}), "it has no name"),
        (
            type("Odd", (JourneyKind,), {"name": "odd", "points": clashing}),
            "component kind odd: hook point before_journey: the name",
        ),
    ],
)
async def test_a_broken_kind_is_told_and_harms_nobody_else(kind: type[Any], told: str) -> None:
    async with opened(kind, *BROUGHT) as host:
        errors = [info.error for info in host.plugins.infos if info.error]
        assert any(told in error for error in errors), errors
        assert (await host.call("journey:train")).stops == ()


async def test_a_kind_that_cannot_be_opened_is_told_and_if_required_ends_operations() -> None:
    class Closed(JourneyKind):
        required = True

        async def __aenter__(self) -> Self:
            raise OSError("no rails")

        async def __aexit__(self, *error: object) -> None:
            pass

    async with opened(Closed, Train) as host:
        with pytest.raises(PluginRequiredError, match="no rails"):
            await host.call("journey:train")


async def test_a_disabled_kind_leads_nowhere() -> None:
    async with opened(*BROUGHT, settings={"plugins": {"disabled": ["kind:journey"]}}) as host:
        with pytest.raises(ComponentNotFoundError, match="it leads nowhere"):
            await host.call("journey:train")


class Where(BaseModel):
    """Where to look."""

    server: str


class Reaching(Tool[Where]):
    """Says which addresses a server was pinned to."""

    name = "reaching"

    def access(self, parameters: Where) -> tuple[AddressAccess, ...]:
        """Return that it talks to the server."""
        return (AddressAccess("server"),)

    async def run(self, parameters: Where, context: ToolContext) -> Any:
        """Say it."""
        return list(context.call.addresses["server"])


async def test_a_tool_that_talks_to_a_host_and_port_is_judged_and_pinned_before_it_runs() -> None:
    async with opened(Reaching) as host:
        with pytest.raises(SecurityError, match="is loopback"):
            await host.call("tool:reaching", {"server": "127.0.0.1:8080"})
        await host.settings.change("security.hosts.private", ["127.0.0.1"])
        assert (await host.call("tool:reaching", {"server": "127.0.0.1:8080"})).result == ["127.0.0.1"]
        with pytest.raises(InvalidInputError, match="give host:port"):
            await host.call("tool:reaching", {"server": "127.0.0.1"})


class Limited(ComponentKind):
    """A kind with settings of its own."""

    name = "limited"

    class Settings(BaseModel):
        """How fast it may be."""

        speed: Annotated[int, Policy.LOWER_ONLY] = 3

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings

    async def run(self, name: str, input: Any, options: CallOptions, /) -> int:
        """Return how fast it may be."""
        return self._settings.speed


async def test_a_kind_has_settings_of_its_own_that_a_projects_file_may_tighten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMSPELL_CONFIG_HOME", str(tmp_path / "user"))
    (tmp_path / ".git").mkdir()
    file = tmp_path / "llmspell.toml"
    monkeypatch.chdir(tmp_path)
    file.write_text("[plugins.limited]\nspeed = 2")
    async with Host.open({}, plugins=[Limited]) as host:
        assert await host.call("limited:any") == 2
    file.write_text("[plugins.limited]\nspeed = 4")
    with pytest.raises(SettingsError, match="speed = 4 loosens policy"):
        async with Host.open({}, plugins=[Limited]):
            """It is refused before."""
    file.write_text("[plugins.limited]\nspeeed = 2")
    with pytest.raises(SettingsError, match="speeed"):
        async with Host.open({}, plugins=[Limited]):
            """It is refused before."""
