"""The weather tool: asks the service that ``[tools.weather]`` names. Temperatures in the unit that it is set to."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmspell_hookspecs import NetworkAccess, SecurityLevel, ToolContext, ToolError, tool

__all__ = ["Settings", "weather"]


class Settings(BaseModel):
    """``[tools.weather]``."""

    base_url: str = Field(description="The service, such as https://weather.example/v1.")
    units: Literal["metric", "imperial"] = Field("metric", description="Degrees Celsius, or Fahrenheit.")
    timeout_s: float = Field(10, gt=0, le=60, description="How long the service may take.")


class Report(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(extra="ignore")

    temperature: float
    sky: str


@tool(level=SecurityLevel.RESTRICTED, category="web", aliases=("forecast",), settings=Settings)
async def weather(city: str, settings: Settings, context: ToolContext) -> dict[str, object]:
    """Tell the weather of a city as it is now.

    Args:
        city: Where, such as Bern.
    """
    url = f"{settings.base_url.rstrip('/')}/current?{urlencode({'city': city, 'units': settings.units})}"
    network = context.services.get(NetworkAccess)
    answer = await network.request("GET", url, timeout_s=settings.timeout_s, max_bytes=64 * 1024)
    if answer.status == 404:
        raise ToolError(f"weather: no city is called {city!r}; name a larger one nearby", code="unknown_city")
    if answer.status != 200:
        raise ToolError(f"weather: the service answered {answer.status}; try again later", code="service")
    try:
        report = Report.model_validate_json(answer.body)
    except ValidationError as error:
        raise ToolError("weather: the service's answer is no report; look at base_url", code="service") from error
    degrees = "°C" if settings.units == "metric" else "°F"
    return {"city": city, "temperature": report.temperature, "unit": degrees, "sky": report.sky}
