"""What a tool runs with is what guards were shown, all of it, and again after a Retry; its secrets stay hidden."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    SecretStr,
    computed_field,
    model_validator,
)

from kernel import opened
from llmspell_hookspecs import (
    HookContext,
    InvalidInputError,
    LlmspellError,
    Modified,
    Retry,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
)
from llmspell_hookspecs.values import canonical, freeze

BEFORE = "before_tool_execution"


class Aliased(BaseModel):
    path: str = Field(alias="filePath")


class Nested(BaseModel):
    obj: Json[list[int]]


class Doubling(BaseModel):
    n: int

    @model_validator(mode="before")
    @classmethod
    def double(cls, given: Any) -> Any:
        return {"n": given["n"] * 2}


class Stepping(BaseModel):
    n: Annotated[int, BeforeValidator(lambda value: value + 1)]


class Excluding(BaseModel):
    a: int = 0
    force: bool = Field(default=False, exclude=True)
    ids: set[int] = set()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: Excluding = Excluding()
    _own: list[int] = PrivateAttr(default_factory=lambda: [1])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return self.a.a * 2


class Handle:
    """A thing of one's own."""


class Secretive(BaseModel):
    key: SecretStr
    more: list[SecretStr] = []


GIVEN: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Aliased, {"filePath": "x"}),
    (Nested, {"obj": "[1]"}),
    (Doubling, {"n": 2}),
    (Stepping, {"n": 2}),
    (Excluding, {"force": True, "ids": [1]}),
    (Open, {"a": {"a": 1, "force": True}, "other": {"deep": [1]}}),
    (Secretive, {"key": "hidden-1", "more": ["hidden-2"]}),
]
each_model = pytest.mark.parametrize(("model", "given"), GIVEN, ids=lambda value: getattr(value, "__name__", ""))


def tool_of(model: type[BaseModel], ran: list[Any], failures: int = 0) -> type[Tool[Any]]:
    """Return a tool that takes this, keeps what it was given, spoils it, and fails the first few times."""

    class Keeper(Tool[model]):  # type: ignore[valid-type]
        """Keeps what it is given."""

        name = "keeper"
        level = SecurityLevel.SAFE
        repeatable = True

        async def run(self, parameters: Any, context: ToolContext) -> Any:
            ran.append((canonical(parameters), parameters.model_copy(deep=True)))
            for value in vars(parameters).values():
                if isinstance(value, list | set):
                    value.clear()
            if len(ran) <= failures:
                raise ToolError("passing", code="io")
            return "ok"

    return Keeper


@each_model
async def test_guards_see_all_that_runs_and_it_runs_again_as_it_was_approved(
    model: type[BaseModel], given: dict[str, Any]
) -> None:
    ran: list[Any] = []
    seen: list[Any] = []

    async with opened(tool_of(model, ran, failures=2)) as host:
        host.hooks.register(BEFORE, lambda context: seen.append(context.subject.parameters), kind="guard")
        host.hooks.register("tool_error", lambda context: Retry(0, 5))
        await host.call("tool:keeper", given)

    assert len(ran) == 3
    assert {spelled for spelled, _ in ran} == {ran[0][0]}
    for shown, (_, run) in zip(seen, ran, strict=True):
        state = {**vars(run), **(run.__pydantic_extra__ or {}), **(run.__pydantic_private__ or {})}
        assert canonical(dict(shown)) == canonical(dict(freeze(state)))


async def test_what_guards_cannot_see_into_is_refused_by_its_type() -> None:
    class Custom(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Annotated[Any, BeforeValidator(lambda value: Handle())]

    ran: list[Any] = []
    async with opened(tool_of(Custom, ran)) as host:
        with pytest.raises(InvalidInputError, match=r"tool:keeper: its parameters: a Handle cannot be held read-only"):
            await host.call("tool:keeper", {"thing": 1})
    assert ran == []


@pytest.mark.parametrize("error", [TypeError, KeyError, RecursionError, OverflowError, NameError])
async def test_a_validator_that_fails_otherwise_is_told_as_wrong_input(error: type[Exception]) -> None:
    def fail(value: Any) -> Any:
        raise error("hidden-1")

    class Failing(BaseModel):
        n: Annotated[int, BeforeValidator(fail)]

    async with opened(tool_of(Failing, [])) as host:
        with pytest.raises(InvalidInputError, match=f"tool:keeper: .*{error.__name__}") as told:
            await host.call("tool:keeper", {"n": 1})
    assert "hidden-1" not in str(told.value)


# Secrets.


class Login(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    kind: str = "basic"
    key: SecretStr


class Request(BaseModel):
    model_config = ConfigDict(extra="allow")
    url: str = ""
    headers: dict[str, str] = {}
    auth: Login | None = None
    login: Annotated[SecretStr | None, Field(alias="signIn")] = None
    api_key: str = ""
    count: int = 0


SECRETS: dict[str, dict[str, Any]] = {
    "declared": {"auth": {"key": "hidden-1"}},
    "declared under another name": {"signIn": "hidden-1"},
    "of a wrong shape": {"auth": ["hidden-1"]},
    "a text by its name": {"api_key": "hidden-1"},
    "a header": {"headers": {"Authorization": "Bearer hidden-1", "Accept": "json"}},
    "another header": {"headers": {"X-Api-Key": "hidden-1", "Cookie": "a=hidden-1"}},
    "a password in a URL": {"url": "https://me:hidden-1@example.com/a"},
    "a user in a URL": {"url": "https://hidden-1@example.com/a"},
    "a key in a URL": {"url": "https://example.com/a?x=1&api_key=hidden-1#access_token=hidden-1"},
    "unknown": {"password": "hidden-1", "deep": [{"token": "hidden-1"}]},
}
each_secret = pytest.mark.parametrize("name", SECRETS)
WAYS = {
    "runs": {},
    "has wrong parameters": {"count": "many"},
    "fails": {"url_": "fail"},
}


@pytest.mark.parametrize("way", WAYS)
@each_secret
async def test_no_context_trace_event_or_error_holds_a_secret_and_the_body_does(name: str, way: str) -> None:
    ran: list[Any] = []
    told: list[str] = []

    def look(context: HookContext[Any]) -> None:
        told.append(repr(context) + str(context.subject) + str(thaw_all(context.subject)))

    async with opened(tool_of(Request, ran, failures=way == "fails"), trace=True) as host:
        for point in (BEFORE, "tool_parameter_validation", "tool_security_check", "tool_error", "after_tool_execution"):
            for kind in ("transform", "guard", "observe"):
                if not ((kind == "transform" and "_check" in point) or "validation" in point):
                    host.hooks.register(point, look, kind=kind)
        async with host.events.subscribe("**", capacity=100) as events:
            try:
                await host.call("tool:keeper", {**SECRETS[name], **WAYS[way]})
            except LlmspellError as error:
                told.append(f"{error} {error!r} {error.__cause__!r}")
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
        told.append(repr(host.trace))

    assert told and "hidden-1" not in "".join(told)
    if way == "runs" and name != "of a wrong shape":
        values = repr(revealed(ran[0][1]))
        assert "hidden-1" in values and "**" not in values


async def test_those_who_are_told_of_a_call_that_cannot_be_shown_see_nothing_secret_of_it() -> None:
    told: list[Any] = []
    given = {"api_key": "hidden-1", "headers": {"more": (x for x in [1])}}

    async with opened(tool_of(Request, [])) as host:
        host.hooks.register("tool_error", lambda context: told.append(context), kind="observe")
        with pytest.raises(InvalidInputError, match="tool:keeper: its input: a generator cannot be held"):
            await host.call("tool:keeper", given)

    assert told and "hidden-1" not in repr(told)
    assert told[0].request.parameters == {}


@each_secret
async def test_a_transform_that_changes_something_else_leaves_the_secrets_as_they_are(name: str) -> None:
    def plainly(context: HookContext[Any]) -> Modified:
        return Modified({"parameters": {**thaw_all(context.subject.parameters), "added": 1}})

    def change(context: HookContext[Any]) -> Modified:
        return Modified({"parameters": {**context.subject.parameters, "added": 2}})

    untouched: list[Any] = []
    changed: list[Any] = []
    for ran, hooks in ((untouched, []), (changed, [plainly, change, plainly])):
        async with opened(tool_of(Request, ran)) as host:
            for number, hook in enumerate(hooks):
                host.hooks.register(BEFORE, hook, name=f"hook{number}")
            if name == "of a wrong shape":
                with pytest.raises(InvalidInputError):
                    await host.call("tool:keeper", SECRETS[name])
                return
            await host.call("tool:keeper", SECRETS[name])

    assert revealed(changed[0][1]) == {**revealed(untouched[0][1]), "added": 1}


def thaw_all(value: Any) -> Any:
    """Return a value as a script gets it: plain, with the text of what is hidden."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, SecretStr):
        return str(value)
    if hasattr(value, "__struct_fields__"):
        return {name: thaw_all(getattr(value, name)) for name in value.__struct_fields__}
    if hasattr(value, "items"):
        return {key: thaw_all(item) for key, item in value.items()}
    return [thaw_all(item) for item in value] if isinstance(value, tuple | list) else value


def revealed(value: Any) -> Any:
    """Return what a body was given as plain values, secrets read."""
    if isinstance(value, BaseModel):
        return {name: revealed(item) for name, item in value}
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return {key: revealed(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("error", [RecursionError, ValueError, TypeError, UnicodeError, OverflowError])
async def test_what_a_tool_did_not_think_of_is_its_failure_and_no_raw_error(error: type[Exception]) -> None:
    class Thoughtless(Tool[Request]):
        """Thinks of nothing."""

        name = "thoughtless"

        async def run(self, parameters: Request, context: ToolContext) -> Any:
            raise error(f"no {parameters.api_key}\nat all")

    async with opened(Thoughtless) as host:
        with pytest.raises(ToolError, match=f"tool:thoughtless: it failed with {error.__name__}") as told:
            await host.call("tool:thoughtless", {"api_key": "hidden-1"})
    assert "hidden-1" not in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) <= 500
