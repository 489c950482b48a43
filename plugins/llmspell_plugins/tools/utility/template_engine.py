"""The template_engine tool: fills a template of Tera or Handlebars with values.

Invariant: a template is a stranger's program: it runs in a child process, for a bounded time and with bounded memory,
and reaches nothing but the values that it is given. Sizes in characters.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import ToolLimits
from llmspell_plugins.tools.child import run_child

from . import template_program

__all__ = ["TemplateEngine", "TemplateEngineParameters"]

_TIME_S = 5.0


class TemplateEngineParameters(BaseModel):
    """What the template_engine takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["render", "validate"] = Field(default="render", description="Fill it, or only check it.")
    input: str = Field(
        max_length=1_000_000,
        validation_alias=AliasChoices("input", "template"),
        description="The template; also called template.",
    )
    context: dict[str, Any] = Field(
        default={},
        validation_alias=AliasChoices("context", "variables"),
        description="The values by their names; also called variables.",
    )
    engine: Literal["tera", "handlebars"] = Field(
        default="tera", description="Tera as Jinja2 reads it, with Tera's filters; or Handlebars."
    )
    auto_detect: bool = Field(default=True, description="Tell the engine by the template if engine is left out.")
    escape: bool | None = Field(
        default=None, description="Whether values are escaped for HTML; Handlebars does if left out, Tera does not."
    )


class TemplateEngine(Tool[TemplateEngineParameters]):
    """Fill a Tera or Handlebars template with values, or check one."""

    name = "template_engine"
    aliases = ("template-engine", "template-engine-tool", "template-creator")
    category = "utility"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=10)
    repeatable = True
    examples = (
        ToolExample(
            "Tera",
            {
                "input": "{% for name in names %}{{ loop.index }}. {{ name | title }}\n{% endfor %}",
                "context": {"names": ["ann", "bob"]},
            },
            {"rendered": "1. Ann\n2. Bob\n", "engine": "tera"},
        ),
        ToolExample(
            "Handlebars",
            {
                "input": "{{#each items}}{{name}}: {{price}}; {{else}}nothing{{/each}}",
                "context": {"items": [{"name": "tea", "price": 2}]},
            },
            {"rendered": "tea: 2; ", "engine": "handlebars"},
        ),
        ToolExample("a check", {"operation": "validate", "input": "{% if x %}"}, {"valid": False}),
    )

    async def run(self, parameters: TemplateEngineParameters, context: ToolContext) -> ToolResult:
        """Return ``{rendered, engine, template_length, context_size}`` or ``{valid, errors, engine}``.

        Raises:
            ToolError: ``invalid_template``, ``timeout`` or ``missing_library``.
            ResourceLimitError: It needs too much memory, or its text is too long.
        """
        text, engine = parameters.input, parameters.engine
        context.charge(8 * len(text))
        if parameters.auto_detect and "engine" not in parameters.model_fields_set:
            engine = template_program.detected(text)
        if parameters.operation == "validate":
            arguments: tuple[Any, ...] = (template_program.validate, text, engine)
            result = await run_child(context, self.name, "templates", _TIME_S, *arguments)
            return ToolResult(operation="validate", result={**result, "engine": engine})
        escape = engine == "handlebars" if parameters.escape is None else parameters.escape
        arguments = (template_program.render, text, engine, parameters.context, escape)
        rendered = await run_child(context, self.name, "templates", _TIME_S, *arguments)
        result = {
            "rendered": rendered,
            "engine": engine,
            "template_length": len(text),
            "context_size": len(parameters.context),
        }
        return ToolResult(operation="render", result=result)
