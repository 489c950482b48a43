"""The settings of web_search, and where they have each provider. Durations in seconds, sizes in bytes.

Invariant: a key goes only to its own service, or to the URL that stands beside it in settings.
"""

from __future__ import annotations

import os
import re
from typing import Literal, TypeAlias
from urllib.parse import quote, quote_plus, urlsplit

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from llmspell_hookspecs import ToolError

from .engines import ENGINES, Engine, Search

__all__ = ["Provider", "Service", "ServiceTable", "WebSearchSettings", "lacking", "service_of"]

Provider: TypeAlias = Literal["brave", "google", "serpapi", "serper", "tavily", "searxng", "duckduckgo"]

_NO_PLACE = "no URL of a service; give scheme, host and path, such as https://search.example.com"


class ServiceTable(BaseModel):
    """``[tools.web_search.NAME]``: where one provider is, and its key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: str = Field(default="", description="Where it is instead.")
    api_key: SecretStr | None = Field(default=None, description="Its key; better kept in an environment variable.")
    api_key_env: str = Field(default="", description="The environment variable that has its key.")
    engine_id: str = Field(default="", description="google: the search engine's id (cx); or GOOGLE_SEARCH_ENGINE_ID.")

    @field_validator("base_url")
    @classmethod
    def _leads_somewhere(cls, value: str) -> str:
        if value and not _is_place(value):
            raise ValueError(f"it is {_NO_PLACE}")
        return value


class WebSearchSettings(BaseModel):
    """``[tools.web_search]``; a provider's own table is ``[tools.web_search.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    providers: tuple[Provider, ...] = Field(
        default=("brave", "google", "serpapi", "serper", "tavily", "searxng", "duckduckgo"),
        description="Who is asked, in this order; who lacks a key or a URL is passed over.",
    )
    max_results: int = Field(default=10, ge=1, le=100, description="How many hits, unless the call says.")
    safe_search: bool = Field(default=True, description="Leave out what is for adults, unless the call says.")
    allowed_domains: tuple[str, ...] = Field(
        default=(), description="Only hits from these and below them; any if empty."
    )
    blocked_domains: tuple[str, ...] = Field(default=(), description="No hits from these and below them.")
    timeout_s: float = Field(default=30, gt=0, le=600, description="How long one provider may take.")
    max_answer_bytes: int = Field(default=5 * 1024 * 1024, ge=0, description="The largest answer that is read.")
    user_agent: str = Field(
        default="llmspell", pattern=r"^[\x20-\x7e]{1,200}$", description="What the tool calls itself."
    )
    brave: ServiceTable = Field(default=ServiceTable(), description="Brave Search.")
    google: ServiceTable = Field(default=ServiceTable(), description="Google Custom Search; has no news.")
    serpapi: ServiceTable = Field(default=ServiceTable(), description="SerpApi.")
    serper: ServiceTable = Field(default=ServiceTable(), description="Serper.")
    tavily: ServiceTable = Field(
        default=ServiceTable(),
        description="Tavily; has no images, and is asked only without safe_search and without a language.",
    )
    searxng: ServiceTable = Field(
        default=ServiceTable(), description="A SearXNG; its base_url may be in SEARXNG_URL. It must serve JSON."
    )
    duckduckgo: ServiceTable = Field(
        default=ServiceTable(), description="DuckDuckGo's page for people; needs no key, has only web."
    )


class Service(Struct, frozen=True):
    """An engine where it is, with its key.

    Attributes:
        name: The provider's.
        engine: What it is asked.
        url: Where it is, without a slash at its end.
        key: Its key; empty if it has none.
        engine_id: Google's ``cx``.
        trusted: Whether a person's settings or environment say where it is, so that it may be private.
    """

    name: str
    engine: Engine
    url: str
    key: str
    engine_id: str
    trusted: bool

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """Return the key however a server may echo it."""
        forms = {self.key, quote(self.key, safe=""), quote_plus(self.key)}
        return tuple(form.encode() for form in sorted(forms, key=len, reverse=True) if form)


def _table(name: str, settings: WebSearchSettings) -> ServiceTable:
    table: ServiceTable = getattr(settings, name)
    return table


def _url(name: str, settings: WebSearchSettings) -> tuple[str, bool]:
    """Where a provider is, and whether a person said so."""
    said = _table(name, settings).base_url
    if name == "searxng" and not said:
        said = os.environ.get("SEARXNG_URL", "").strip()
    return (said.rstrip("/"), True) if said else (ENGINES[name].url, False)


def _is_place(url: str) -> bool:
    """Whether a URL has a scheme, a host and perhaps a path, and nothing that could be a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    odd = re.search(r"[\s?#@]", url) or not url.isprintable() or port == 0
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not odd


def _key(name: str, settings: WebSearchSettings) -> str:
    table = _table(name, settings)
    if table.api_key is not None and table.api_key.get_secret_value():
        return table.api_key.get_secret_value().strip()
    variables = [table.api_key_env] if table.api_key_env else ENGINES[name].keys
    return next((value for value in (os.environ.get(each, "").strip() for each in variables) if value), "")


def _engine_id(settings: WebSearchSettings) -> str:
    variables = ("GOOGLE_SEARCH_ENGINE_ID", "GOOGLE_CSE_ID")
    return settings.google.engine_id or next(filter(None, map(os.environ.get, variables)), "")


def lacking(name: str, settings: WebSearchSettings) -> str:
    """Return what a provider lacks to be asked, and how to give it; empty if nothing."""
    where = f"[tools.web_search.{name}]"
    url, _ = _url(name, settings)
    if url and not _is_place(url):  # settings were judged when they were read
        return f"what SEARXNG_URL says is {_NO_PLACE}"
    if not url:
        return f"nobody says where it is; set base_url in {where}, or SEARXNG_URL"
    if not re.fullmatch(r"[\x21-\x7e]*", _key(name, settings)):
        return "its key holds a character that no key has (a space, a line break, one beyond ASCII); copy it again"
    if ENGINES[name].keys and not _key(name, settings):
        variable = _table(name, settings).api_key_env or ENGINES[name].keys[0]
        return f"it has no key; set {variable}, or api_key in {where}"
    if name == "google" and not _engine_id(settings):
        return f"it has no engine id; set GOOGLE_SEARCH_ENGINE_ID, or engine_id in {where}"
    return ""


def service_of(name: str, settings: WebSearchSettings, search: Search) -> Service:
    """Return the provider as settings and environment have it, if it can search so.

    Raises:
        ToolError: ``credentials`` or ``not_offered``.
    """
    lacks, engine = lacking(name, settings), ENGINES[name]
    if lacks:
        raise ToolError(f"web_search: {name}: {lacks}", code="credentials")
    if search.kind not in engine.page_sizes:
        others = ", ".join(each for each, one in ENGINES.items() if search.kind in one.page_sizes)
        message = f"web_search: {name}: it has no {search.kind}; give a key to one that has: {others}"
        raise ToolError(message, code="not_offered")
    if not engine.narrows and (search.safe or search.language):
        what = "leaves nothing out that is for adults; set safe_search to false" if search.safe else ""
        what = what or "keeps to no language; leave language out"
        raise ToolError(f"web_search: {name}: it {what}, or ask another", code="not_offered")
    url, trusted = _url(name, settings)
    return Service(name, engine, url, _key(name, settings), _engine_id(settings), trusted)
