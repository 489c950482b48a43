"""What ``[plugins.cost]`` takes: prices in USD for a million tokens, and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import Policy

__all__ = ["Budget", "BudgetKey", "CostSettings", "Price"]

BudgetKey: TypeAlias = Literal["host", "provider", "component", "session", "user", "language", "agent", "workflow"]


class Price(BaseModel):
    """What a model costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd: float = Field(ge=0, le=1e6, description="For a million tokens of a request.")
    output_usd: float = Field(ge=0, le=1e6, description="For a million tokens of an answer.")
    max_output_tokens: int = Field(default=0, ge=0, description="The longest answer; 0 if it is not known.")


class Budget(BaseModel):
    """One budget; what it does not say is not limited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", max_length=100, description="Told to whoever is refused; its match if left out.")
    match: str = Field(default="model:*", description="A glob for addresses: model:openai/*, tool:web_search, agent:*.")
    key: tuple[BudgetKey, ...] = Field(default=(), description="Each of these has the whole budget; together if none.")
    window: Literal["none", "hour", "day", "month"] = Field(default="none", description="When it begins anew, in UTC.")
    usd: float | None = Field(default=None, ge=0, le=1e9, description="Of calls of models.")
    tokens: int | None = Field(default=None, ge=0, description="Of calls of models, asked and answered together.")
    calls: int | None = Field(default=None, ge=0, description="How many; each attempt is one.")
    seconds: float | None = Field(default=None, ge=0, description="What calls took together; told when they end.")
    alerts: tuple[float, ...] = Field(default=(0.5, 0.8), description="At which parts used an event tells of it, once.")
    on_exceed: Literal["refuse", "ask", "redirect"] = Field(
        default="refuse", description="What becomes of one too many; ask lets a person allow it, once."
    )
    redirect: str = Field(default="", description="For redirect, what runs instead: model:ollama/llama3.")

    @model_validator(mode="after")
    def _fits_together(self) -> Budget:
        if self.usd is None and self.tokens is None and self.calls is None and self.seconds is None:
            raise ValueError("a budget limits usd, tokens, calls or seconds; give one")
        if (self.on_exceed == "redirect") != bool(self.redirect):
            raise ValueError("redirect says where to, and on_exceed says redirect; give both or neither")
        if any(not 0 < part < 1 for part in self.alerts):
            raise ValueError("alerts are parts between 0 and 1, such as 0.8")
        if not self.match.startswith(("model:", "*")) and (self.usd is not None or self.tokens is not None):
            raise ValueError(
                f"match = {self.match!r}: only calls of models cost tokens and usd; limit calls or seconds"
            )
        return self

    @property
    def title(self) -> str:
        """How people are told of it."""
        return self.name or self.match


class CostSettings(BaseModel):
    """``[plugins.cost]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budgets: Annotated[tuple[Budget, ...], Policy.LOCKED] = Field(default=(), description="All that match count.")
    prices: Annotated[Mapping[str, Price], Policy.LOCKED] = Field(
        default_factory=dict, description="By model or glob, before all others: openai/gpt-4o, ollama/*."
    )
    price_list: Annotated[Literal["litellm", "none"], Policy.LOCKED] = Field(
        default="litellm",
        description="Where else prices are from: litellm's list, if it is installed, or nowhere.",
    )
    unknown_model: Annotated[Literal["refuse", "zero", "estimate"], Policy.LOCKED] = Field(
        default="refuse", description="What becomes of a model without a price where a budget limits usd."
    )
    estimate: Annotated[Price, Policy.LOCKED] = Field(
        default=Price(input_usd=15, output_usd=75), description="The price of such a model, for estimate."
    )
    max_output_tokens: Annotated[int, Policy.LOCKED] = Field(
        default=4096, ge=1, description="The longest answer of a model where neither call nor price says."
    )
    ledger: Annotated[Literal["memory", "behind", "strict"], Policy.LOCKED] = Field(
        default="behind",
        description="Whether what was spent is kept: not at all, soon after, or before each call goes on.",
    )
    keep_days: Annotated[int, Policy.LOCKED] = Field(default=400, ge=1, description="How long past windows are kept.")

    @model_validator(mode="after")
    def _names_differ(self) -> CostSettings:
        titles = [(budget.title, budget.window, budget.key) for budget in self.budgets]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"two budgets are called {twice[0]!r}; give each a name of its own")
        return self
