"""The services with a name of their own: where each is, which variable has its key, and what it costs.

A key in the environment is all that one needs. The smallest rank among those that can be asked is the default.
"""

from __future__ import annotations

import os
from typing import ClassVar

from .litellm import Route, Routed
from .openai_compatible import OpenAICompatible, Service

__all__ = ["Anthropic", "Cohere", "Gemini", "Groq", "Ollama", "OpenAI", "Perplexity", "Together"]


class OpenAI(OpenAICompatible):
    """OpenAI."""

    rank = 100
    service = Service(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        needs_key=True,
        default_model="gpt-4o-mini",
        prices="openai",
        limit_name="max_completion_tokens",
        models=("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1", "gpt-5"),
        description="OpenAI's own models.",
    )


class Anthropic(Routed):
    """Anthropic, by litellm."""

    rank = 110
    route = Route(
        "anthropic",
        "ANTHROPIC_API_KEY",
        "claude-haiku-4-5",
        ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"),
        "Anthropic's models, by litellm.",
    )


class Gemini(Routed):
    """Google's Gemini, by litellm."""

    rank = 120
    route = Route(
        "gemini",
        "GEMINI_API_KEY",
        "gemini-2.5-flash",
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"),
        "Google's Gemini models, by litellm.",
    )


class Groq(OpenAICompatible):
    """Groq."""

    rank = 130
    service = Service(
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        needs_key=True,
        default_model="openai/gpt-oss-20b",
        prices="groq",
        models=("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
        description="Open models, served by Groq.",
    )


class Together(OpenAICompatible):
    """Together AI."""

    rank = 140
    service = Service(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        needs_key=True,
        default_model="meta-llama/Llama-3.3-70B-Instruct-Turbo",
        prices="together_ai",
        models=("meta-llama/Llama-3.3-70B-Instruct-Turbo", "openai/gpt-oss-120b"),
        description="Open models, served by Together AI.",
    )


class Perplexity(OpenAICompatible):
    """Perplexity."""

    rank = 150
    service = Service(
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        needs_key=True,
        default_model="sonar",
        prices="perplexity",
        models=("sonar", "sonar-pro"),
        description="Perplexity's models, which search the web.",
    )


class Cohere(Routed):
    """Cohere, by litellm."""

    rank = 160
    route = Route(
        "cohere_chat",
        "COHERE_API_KEY",
        "command-a-03-2025",
        ("command-a-03-2025", "command-r7b-12-2024"),
        "Cohere's models, by litellm.",
    )


class Ollama(OpenAICompatible):
    """Ollama on this machine; taken to be there only if its table in settings or ``OLLAMA_HOST`` says so."""

    rank: ClassVar[int | None] = 600
    service = Service(
        "http://127.0.0.1:11434/v1",
        default_model="llama3.2",
        prices="ollama",
        description="Models on this machine, served by Ollama.",
        url_variable="OLLAMA_HOST",
    )

    def _missing(self) -> str:
        """Why nobody said that it is there."""
        if self._settings.model_fields_set or os.environ.get("OLLAMA_HOST") or not self._place.trusted:
            return super()._missing()
        return "nobody says that it runs; set OLLAMA_HOST, or base_url in its [providers] table"

    def _configured_url(self) -> str:
        """Where ``OLLAMA_HOST`` has it: ``host:port``, perhaps with a scheme; where it listens may be any address."""
        host = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/")
        if self._settings.base_url or not host:
            return super()._configured_url()
        scheme, _, rest = host.rpartition("://")
        name, colon, port = rest.partition(":")
        name = "127.0.0.1" if name in ("0.0.0.0", "") else name  # noqa: S104 - nothing is bound to it
        return f"{scheme or 'http'}://{name}:{port if colon else '11434'}/v1"
