"""web_search: seven services on loopback, as the real ones speak; jq and xmllint read their answers beside."""

from __future__ import annotations

import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
import trio.testing

from kernel import opened
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import PluginError, ResourceLimitError, SecurityError, SettingsError
from llmspell_plugins.tools.web.engines import ENGINES
from llmspell_plugins.tools.web.web_search import WebSearch
from oracles import oracle
from search_services import KEYS, Refusal, brave, document, duckduckgo, search_services, serpapi, serper, tables

OFFERED = [(name, kind) for name, engine in ENGINES.items() if engine.narrows for kind in engine.page_sizes]


@pytest.fixture(autouse=True)
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ENGINES.values():
        for variable in (*engine.keys, "SEARXNG_URL", "GOOGLE_SEARCH_ENGINE_ID", "GOOGLE_CSE_ID"):
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """The clock of the test that asks for it: it stands still unless the test moves it."""
    return trio.testing.MockClock()


async def _search(settings: dict[str, Any], **parameters: Any) -> ToolResult:
    async with opened(WebSearch, settings={"tools": {"web_search": settings}}) as host:
        result: ToolResult = await host.call("tool:web_search", {"input": "trio", **parameters})
        return result


def _query(seen: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(seen.path).query).items()}


@pytest.mark.parametrize(("name", "kind"), OFFERED)
async def test_each_service_finds_what_it_has_over_as_many_pages_as_it_takes(name: str, kind: str) -> None:
    with search_services() as server:
        asked = {"provider": name, "search_type": kind, "max_results": 23, "fallback": False}
        result = (await _search(tables(server.url), **asked)).result

    assert (result["query"], result["provider"], result["search_type"]) == ("trio", name, kind)
    assert (result["count"], result["tried"], result["untrusted"]) == (23, [], True)
    assert [hit["rank"] for hit in result["results"]] == list(range(1, 24))
    for number, hit in enumerate(result["results"]):
        expected = document(kind, number) | {"provider": name, "rank": number + 1}
        if name == "searxng":
            expected = {key: value for key, value in expected.items() if key in hit}
        assert {key: hit.get(key) for key in expected} == expected
    assert len(server.seen) == -(-23 // ENGINES[name].page_sizes[kind])


@pytest.mark.parametrize(
    ("name", "path", "title", "link"),
    [
        ("brave", "/brave/web/search?q=x&count=7&safesearch=off", ".web.results[].title", ".web.results[].url"),
        (
            "google",
            f"/google/customsearch/v1?key={KEYS['google']}&cx=engine:1&num=7",
            ".items[].title",
            ".items[].link",
        ),
        (
            "serpapi",
            f"/serpapi/search.json?engine=google&q=x&api_key={KEYS['serpapi']}",
            ".organic_results[].title",
            ".organic_results[].link",
        ),
        ("searxng", "/searxng/search?q=x&categories=general&format=json", ".results[].title", ".results[].url"),
    ],
)
async def test_an_answer_reads_as_curl_and_jq_read_it(name: str, path: str, title: str, link: str) -> None:
    jq = pytest.importorskip("jq", reason="jq comes with the extra data")
    with search_services() as server:
        hits = (await _search(tables(server.url), provider=name, max_results=7)).result["results"]
        told = oracle("curl", "-sg", "-H", f"X-Subscription-Token: {KEYS['brave']}", server.url + path)

    answer = json.loads(told)
    assert [hit["url"] for hit in hits] == jq.all(link, answer)[:7]
    assert [hit["title"] for hit in hits] == [each.replace("&amp;", "&") for each in jq.all(title, answer)[:7]]


async def test_the_page_of_duckduckgo_reads_as_xmllint_reads_it_and_without_advertisements() -> None:
    with search_services() as server:
        hits = (await _search(tables(server.url), provider="ddg", max_results=100)).result["results"]

    page = duckduckgo("/html/", {"kp": "1", "q": "trio"}, None)
    told = oracle(
        "xmllint",
        "--html",
        "--xpath",
        "//div[contains(@class,'web-result')]//a[@class='result__a']/text()",
        "-",
        given=page,
    )
    snippets = oracle("xmllint", "--html", "--xpath", "//a[@class='result__snippet']/b/text()", "-", given=page)
    assert [hit["title"] for hit in hits] == re.findall(r"web & \d+", told.replace("&amp;", "&"))
    assert [hit["snippet"] for hit in hits] == re.findall(r'About "\d+"\.', snippets.replace("&quot;", '"'))
    assert [hit["url"] for hit in hits] == [document("web", number)["url"] for number in range(25)]


WORDS: dict[str, dict[str, str]] = {
    "brave": {"q": "a&b=c ü", "search_lang": "pt-br", "country": "BR", "safesearch": "off", "count": "3"},
    "google": {"q": "a&b=c ü", "hl": "pt", "lr": "lang_pt", "gl": "br", "safe": "off", "num": "3", "start": "1"},
    "serpapi": {"q": "a&b=c ü", "hl": "pt", "lr": "lang_pt", "gl": "br", "safe": "off", "engine": "google"},
    "searxng": {"q": "a&b=c ü", "language": "pt-BR", "safesearch": "0", "categories": "general", "pageno": "1"},
    "duckduckgo": {"q": "a&b=c ü", "kl": "br-pt", "kp": "-2"},
}


@pytest.mark.parametrize("name", WORDS)
async def test_query_language_and_safety_are_said_in_each_service_s_own_words(name: str) -> None:
    asked = {"input": "a&b=c ü", "language": "pt-BR", "safe_search": False, "max_results": 3}
    with search_services() as server:
        await _search(tables(server.url), provider=name, **asked)

    said = _query(server.seen[0])
    assert {key: said.get(key) for key in WORDS[name]} == WORDS[name]


async def test_serper_is_told_in_json() -> None:
    asked = {"input": 'a "b" ü', "language": "de-AT", "max_results": 3, "provider": "serperdev"}
    with search_services() as server:
        await _search(tables(server.url), **asked)

    [seen] = server.seen
    assert json.loads(seen.body) == {"q": 'a "b" ü', "num": 3, "safe": "active", "hl": "de", "gl": "at"}
    assert (seen.path, seen.headers["x-api-key"]) == ("/serper/search", KEYS["serper"])


async def test_tavily_is_told_in_json_and_gives_twenty_at_most() -> None:
    with search_services() as server:
        asked = {"provider": "tavily", "search_type": "news", "max_results": 23, "safe_search": False}
        result = (await _search(tables(server.url), **asked)).result

    [seen] = server.seen
    assert json.loads(seen.body) == {"query": "trio", "topic": "news", "max_results": 20}
    assert (result["provider"], result["count"], result["tried"]) == ("tavily", 20, [])
    expected = document("news", 3) | {"provider": "tavily", "rank": 4}
    assert result["results"][3] == expected


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "it leaves nothing out that is for adults; set safe_search to false, or ask another"),
        ({"safe_search": False, "language": "de"}, "it keeps to no language; leave language out, or ask another"),
        ({"safe_search": False, "search_type": "images"}, "it has no images"),
    ],
)
async def test_tavily_is_not_asked_for_what_it_cannot_keep_to(more: dict[str, Any], told: str) -> None:
    with search_services() as server:
        with pytest.raises(ToolError, match=re.escape(told)) as caught:
            await _search(tables(server.url), provider="tavily", fallback=False, **more)
        other = (await _search(tables(server.url), provider="tavily", **more)).result

    assert caught.value.code == "not_offered"
    assert (other["provider"], [each["provider"] for each in other["tried"]]) == ("brave", ["tavily"])
    assert not any("tavily" in seen.path for seen in server.seen)


def _down(path: str, query: dict[str, str], request: Any) -> Any:
    raise Refusal(500, {"error": "down"})


def _busy(path: str, query: dict[str, str], request: Any) -> Any:
    raise Refusal(429, {"message": "slow down"})


async def test_the_next_in_order_is_asked_when_one_fails_and_it_is_told() -> None:
    with search_services(serper=_down, brave=_busy) as server:
        settings = {"providers": ["serper", "brave", "searxng"], **tables(server.url)}
        result = (await _search(settings, max_results=1)).result

    assert result["provider"] == "searxng"
    assert [(each["provider"], each["code"]) for each in result["tried"]] == [
        ("serper", "http_status"),
        ("brave", "rate_limited"),
    ]
    assert [seen.path.split("/")[1] for seen in server.seen] == ["serper", "brave", "searxng"]


async def test_whom_the_call_names_is_first_and_alone_without_fallback() -> None:
    with search_services(google=_down) as server:
        settings = {"providers": ["brave"], **tables(server.url)}
        assert (await _search(settings, provider="google")).result["provider"] == "brave"
        with pytest.raises(ToolError, match=r"^web_search: google: it answered 500 \(down\); ask again later$"):
            await _search(settings, provider="google", fallback=False)


async def test_if_nobody_answers_the_error_names_all() -> None:
    with search_services(serper=_down, brave=_busy) as server:
        settings = {"providers": ["brave", "serper"], **tables(server.url)}
        with pytest.raises(
            ToolError, match=r"brave: it answered 429 \(slow down\).*; nor did .*: serper \(http_status\)"
        ):
            await _search(settings)


async def test_what_a_service_does_not_have_another_is_asked_for() -> None:
    with search_services() as server:
        settings = {"providers": ["duckduckgo", "google", "serpapi"], **tables(server.url)}
        result = (await _search(settings, search_type="news", max_results=2)).result
        with pytest.raises(ToolError, match="google: it has no news; give a key to one that has: brave"):
            await _search(settings, provider="google", search_type="news", fallback=False)

    assert (result["provider"], [each["code"] for each in result["tried"]]) == ("serpapi", ["not_offered"] * 2)


async def test_keys_and_places_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with search_services() as server:
        monkeypatch.setenv("MY_KEY", KEYS["brave"])
        monkeypatch.setenv("SERPER_API_KEY", KEYS["serper"])
        monkeypatch.setenv("GOOGLE_SEARCH_API_KEY", KEYS["google"])
        monkeypatch.setenv("GOOGLE_SEARCH_ENGINE_ID", "engine:1")
        monkeypatch.setenv("SEARXNG_URL", f"{server.url}/searxng/")
        places = {name: {"base_url": f"{server.url}/{name}"} for name in ("brave", "serper", "google")}
        places["brave"]["api_key_env"] = "MY_KEY"
        for name in ("brave", "serper", "google", "searxng"):
            result = (await _search(places, provider=name, fallback=False)).result
            assert (result["provider"], result["count"]) == (name, 10)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("brave", "it has no key; set BRAVE_API_KEY, or api_key in [tools.web_search.brave]"),
        ("google", "it has no key; set GOOGLE_SEARCH_API_KEY, or"),
        ("serpapi", "set SERPAPI_API_KEY, or"),
        ("serper", "set SERPER_API_KEY, or"),
        ("tavily", "set TAVILY_API_KEY, or"),
        ("searxng", "nobody says where it is; set base_url in [tools.web_search.searxng], or SEARXNG_URL"),
    ],
)
async def test_who_lacks_a_key_says_how_to_give_one(name: str, told: str) -> None:
    with pytest.raises(ToolError, match=re.escape(told)) as caught:
        await _search({"providers": [name]})
    assert caught.value.code == "credentials"


@pytest.mark.parametrize("name", KEYS)
async def test_a_key_that_is_refused_is_shown_nowhere(name: str) -> None:
    wrong = "wrong-secret+/key"
    with search_services() as server:
        settings = tables(server.url)
        settings[name]["api_key"] = wrong
        with pytest.raises(ToolError, match=r"it answered 40[13].*check its key") as caught:
            await _search(settings, provider=name, fallback=False, safe_search=False)

    shown = f"{caught.value!r} {caught.value.details} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert caught.value.code == "credentials"
    assert "wrong-secret" not in shown


async def test_a_key_that_an_answer_echoes_is_shown_nowhere() -> None:
    def echo(path: str, query: dict[str, str], request: Any) -> Any:
        answer = serpapi(path, query, request)
        answer["organic_results"][0] |= {"snippet": query["api_key"], "link": f"https://e.example/?{request.path}"}
        return answer

    with search_services(serpapi=echo) as server:
        result = await _search(tables(server.url), provider="serpapi")

    assert KEYS["serpapi"] not in repr(result)
    assert "[redacted]" in result.result["results"][0]["snippet"]


async def test_a_key_does_not_follow_a_redirect() -> None:
    def elsewhere(path: str, query: dict[str, str], request: Any) -> Any:
        raise Refusal(302, "")

    with search_services(brave=elsewhere) as server, pytest.raises(ToolError, match="answered 302; set its base_url"):
        await _search(tables(server.url), provider="brave", fallback=False)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ü"])
async def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    settings = {"providers": ["brave"], "brave": {"api_key": f"secret{key}"}}
    with pytest.raises(ToolError, match="holds a character that no key has") as caught:
        await _search(settings)
    assert "secret" not in str(caught.value)


def test_whoever_is_not_trusted_sets_neither_key_nor_place(tmp_path: Any) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "llmspell.toml").write_text('[tools.web_search.brave]\nbase_url = "https://thief.example"\n')
    environment = {"LLMSPELL_CONFIG_HOME": str(tmp_path / "u"), "LLMSPELL_DATA_HOME": str(tmp_path / "d")}
    with pytest.raises(SettingsError, match=r"tools\.web_search\.brave.*loosens policy"):
        load_settings(cwd=tmp_path, environment=environment)


@pytest.mark.parametrize("name", ["serpapi", "duckduckgo"])
async def test_nothing_found_is_an_answer(name: str) -> None:
    with search_services() as server:
        result = (await _search(tables(server.url), input="nothing", provider=name)).result
    assert (result["provider"], result["count"], result["results"]) == (name, 0, [])


@pytest.mark.parametrize(
    ("name", "query", "code"),
    [
        ("duckduckgo", "robot", "rate_limited"),
        ("duckduckgo", "changed", "protocol"),
        ("searxng", "silent", "http_status"),
    ],
)
async def test_a_page_without_hits_that_does_not_say_so_is_a_failure(name: str, query: str, code: str) -> None:
    with search_services() as server, pytest.raises(ToolError) as caught:
        await _search(tables(server.url), input=query, provider=name, fallback=False)
    assert caught.value.code == code


@pytest.mark.parametrize("body", ["", "{", "[]", "[" * 100_000, '{"a": NaN}', "\ud800"])
async def test_an_answer_that_is_no_json_object_is_one_error(body: str) -> None:
    def odd(path: str, query: dict[str, str], request: Any) -> Any:
        return body.encode("utf-8", "replace").decode()

    with search_services(brave=odd) as server, pytest.raises(ToolError, match=r"brave: the answer is no JSON"):
        await _search(tables(server.url), provider="brave", fallback=False)


async def test_hits_of_another_shape_are_left_out() -> None:
    odd = [None, 7, {}, {"link": 5}, {"link": "javascript:alert(1)"}, {"link": "http://[x"}, {"link": "//no.example/"}]

    def shape(path: str, query: dict[str, str], request: Any) -> Any:
        return {"organic": [*odd, {"link": "https://one.example/", "title": ["x"], "snippet": None}]}

    with search_services(serper=shape) as server:
        hits = (await _search(tables(server.url), provider="serper")).result["results"]
        assert [hit["url"] for hit in hits] == ["https://one.example/"]

    answers: list[dict[str, Any]] = [{"organic": 5}, {"organic": {}}, {}]
    for answer in answers:
        with search_services(serper=lambda *_, answer=answer: answer) as server:
            assert (await _search(tables(server.url), provider="serper")).result["count"] == 0


async def test_no_more_pages_are_asked_for_than_it_takes() -> None:
    def long_pages(path: str, query: dict[str, str], request: Any) -> Any:
        return {"results": [{"url": f"https://x.example/{number}"} for number in range(30)]}

    with search_services(searxng=long_pages) as server:
        result = (await _search(tables(server.url), provider="searxng", max_results=20)).result
    assert (result["count"], len(server.seen)) == (20, 1)


async def test_a_page_comes_once_and_each_of_its_images() -> None:
    def twice(path: str, query: dict[str, str], request: Any) -> Any:
        images = [{"link": "https://x.example/", "imageUrl": f"https://x.example/{number}.png"} for number in (1, 1, 2)]
        return {"organic": [{"link": "https://x.example/"}] * 2, "images": images}

    with search_services(serper=twice) as server:
        pages = (await _search(tables(server.url), provider="serper")).result["results"]
        images = (await _search(tables(server.url), provider="serper", search_type="images")).result["results"]
    assert [hit["url"] for hit in pages] == ["https://x.example/"]
    assert [hit["image_url"] for hit in images] == ["https://x.example/1.png", "https://x.example/2.png"]


async def test_domains_of_the_settings_are_held() -> None:
    with search_services() as server:
        some = {**tables(server.url), "providers": ["serper"]}
        only = (await _search({**some, "allowed_domains": ["site3.example", "example.org"]})).result["results"]
        without = (await _search({**some, "blocked_domains": ["example"], "max_results": 5})).result["results"]

    assert [hit["url"] for hit in only] == [document("web", 3)["url"]]
    assert without == []


async def test_settings_say_how_many_and_how_safe_if_the_call_does_not() -> None:
    with search_services() as server:
        settings = {**tables(server.url), "providers": ["brave"], "max_results": 4, "safe_search": False}
        assert (await _search(settings)).result["count"] == 4
        assert (await _search(settings, max_results=2, safe_search=True)).result["count"] == 2
    assert [_query(seen)["safesearch"] for seen in server.seen] == ["off", "strict"]


async def test_an_answer_above_the_limit_is_refused() -> None:
    with search_services() as server, pytest.raises(ResourceLimitError):
        await _search({**tables(server.url), "max_answer_bytes": 500}, provider="brave")


async def test_the_rules_on_hosts_hold_for_the_services_of_the_world() -> None:
    async with opened(WebSearch, settings={"security": {"hosts": {"allowed": ["other.example"]}}}) as host:
        with pytest.raises(SecurityError):
            await host.call("tool:web_search", {"input": "x", "provider": "duckduckgo"})


async def test_the_rules_on_denied_hosts_hold_for_those_of_settings_too() -> None:
    with search_services() as server:
        tool = {"web_search": tables(server.url)}
        async with opened(
            WebSearch, settings={"tools": tool, "security": {"hosts": {"denied": ["127.0.0.1"]}}}
        ) as host:
            with pytest.raises(SecurityError):
                await host.call("tool:web_search", {"input": "x", "provider": "brave"})
    assert server.seen == []


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"input": " "}, "input"),
        ({"provider": "altavista"}, "provider"),
        ({"max_results": 0}, "max_results"),
        ({"max_results": 101}, "max_results"),
        ({"search_type": "videos"}, "search_type"),
        ({"language": "german"}, "language"),
        ({"input": "\ud800"}, "input"),
    ],
)
async def test_bad_parameters_are_refused_by_their_names(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await _search({}, **parameters)


@pytest.mark.parametrize(
    "table",
    [
        {"base_url": "ftp://x"},
        {"base_url": "https://u:secret@x"},
        {"base_url": "https://x/?key=secret"},
        {"base_url": "https://[secret"},
        {"base_url": "https://x:99999"},
        {"api_kye": "secret"},
    ],
)
async def test_wrong_settings_are_told_without_what_they_hold(table: dict[str, str]) -> None:
    with pytest.raises(PluginError, match=r"brave") as caught:
        await _search({"brave": table})
    assert "secret" not in str(caught.value)


async def test_a_variable_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARXNG_URL", "search.example:8080")
    with pytest.raises(ToolError, match="searxng: what SEARXNG_URL says is no URL of a service"):
        await _search({}, provider="searxng", fallback=False)


@pytest.mark.parametrize("name", ["serpapi", "google"])
async def test_a_key_in_a_url_is_in_no_error_of_the_network(name: str) -> None:
    with search_services() as server:
        settings = tables(server.url)
    with pytest.raises(ToolError, match=f"web_search: {name}: .*connection") as caught:
        await _search(settings, provider=name, fallback=False)

    assert caught.value.code == "connection"
    assert KEYS[name] not in f"{caught.value!r} {caught.value.details} {caught.value.__cause__!r}"


async def test_a_silent_service_is_given_up_and_the_next_one_asked(mock_clock: trio.testing.MockClock) -> None:
    ended, token = threading.Event(), trio.lowlevel.current_trio_token()

    def silent(path: str, query: dict[str, str], request: Any) -> Any:
        token.run_sync_soon(mock_clock.jump, 6)
        ended.wait(30)
        return brave(path, query, request)

    with search_services(brave=silent) as server:
        settings = {**tables(server.url), "providers": ["brave", "serper"], "timeout_s": 5}
        try:
            result = (await _search(settings)).result
        finally:
            ended.set()
    assert (result["provider"], result["tried"][0]["code"]) == ("serper", "timeout")


async def test_a_cancellation_ends_a_search() -> None:
    asked, ended = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def silent(path: str, query: dict[str, str], request: Any) -> Any:
        token.run_sync_soon(asked.set)
        ended.wait(30)
        return serper(path, query, request)

    with search_services(serper=silent) as server:
        settings = {**tables(server.url), "providers": ["serper", "brave"]}
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_search, settings)
                await asked.wait()
                nursery.cancel_scope.cancel()
        finally:
            ended.set()
        assert [seen.path for seen in server.seen] == ["/serper/search"]
