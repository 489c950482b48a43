"""The citation-formatter tool: references in the styles of APA, MLA, Chicago, IEEE or a CSL file, of bibliographies.

Invariant: a bibliography and a style are strangers' work: both are read in a child process, for a bounded time.
Nothing is looked up elsewhere, so what an entry lacks its reference lacks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import Access, PathAccess
from llmspell_plugins.tools.child import run_child
from llmspell_plugins.tools.filesystem.content import read_file
from llmspell_plugins.tools.library import require

from . import citation_program
from .citation_styles import STYLES

__all__ = ["CitationFormatter", "CitationFormatterParameters"]

_TIME_S = 20.0
_MOST_LETTERS = 2_000_000
_MOST_STYLE_BYTES = 1_000_000
_SPELLINGS = {
    "american-psychological-association": "apa",
    "apa7": "apa",
    "mla9": "mla",
    "modern-language-association": "mla",
    "chicago-author-date": "chicago",
    "institute-of-electrical-and-electronics-engineers": "ieee",
}
_FORMS = {
    "yml": "yaml",
    "hayagriva": "yaml",
    "bib": "bibtex",
    "biblatex": "bibtex",
    "json": "csl-json",
    "csl": "csl-json",
}


class CitationFormatterParameters(BaseModel):
    """What the citation-formatter takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["format_citation", "validate_bibliography", "convert", "list_styles"] = Field(
        default="format_citation",
        description="References and the marks of them in a text, a check, another format, or which styles there are.",
    )
    input: str | list[Any] | dict[str, Any] = Field(
        default="", description="The bibliography: a text; of CSL-JSON also the value."
    )
    format: Literal["auto", "bibtex", "csl-json", "ris", "yaml"] = Field(
        default="auto", description="What the input is. YAML is Hayagriva's, or CSL's list of references."
    )
    style: str = Field(
        default="apa",
        max_length=4096,
        description="For format_citation: apa, chicago, ieee, mla, or a file of the Citation Style Language (.csl).",
    )
    cite_keys: list[str] = Field(
        default=[],
        max_length=5000,
        validation_alias=AliasChoices("cite_keys", "keys"),
        description="Only these entries; a list, or a text with commas. All if left out.",
    )
    target_format: Literal["bibtex", "csl-json", "ris"] = Field(default="bibtex", description="For convert.")
    markup: Literal["text", "markdown", "html"] = Field(
        default="text", description="For format_citation: how italics are written."
    )

    @field_validator("cite_keys", mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        return [key for key in re.split(r"[,\s]+", given) if key] if isinstance(given, str) else given

    @field_validator("style", mode="before")
    @classmethod
    def _by_other_names(cls, given: Any) -> Any:
        if not isinstance(given, str) or _is_file(given):
            return given
        name = _SPELLINGS.get(given.lower(), given.lower())
        if name not in STYLES:
            raise ValueError(f"there is no style {given[:80]!r}; take one of {', '.join(STYLES)}, or a .csl file")
        return name

    @field_validator("format", "target_format", mode="before")
    @classmethod
    def _by_ending(cls, given: Any) -> Any:
        return _FORMS.get(given.lower(), given.lower()) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> CitationFormatterParameters:
        if self.operation != "list_styles" and not self.input:
            raise ValueError(f"{self.operation} needs input")
        if isinstance(self.input, str) and len(self.input) > _MOST_LETTERS:
            raise ValueError(f"input has {len(self.input)} characters; at most {_MOST_LETTERS} are read")
        return self


def _is_file(style: str) -> bool:
    """Whether it is a path: no style of our own has a dot or a folder in its name."""
    return "." in style or "/" in style


_TURING = (
    "@article{turing1950, author = {Turing, Alan M.}, title = {Computing Machinery and Intelligence}, "
    "journal = {Mind}, year = 1950, volume = 59, number = 236, pages = {433--460}}"
)


class CitationFormatter(Tool[CitationFormatterParameters]):
    """Write references by APA, MLA, Chicago, IEEE or a CSL file, from BibTeX, CSL-JSON, RIS or YAML; check them."""

    name = "citation-formatter"
    aliases = ("citation_formatter",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample(
            "a reference",
            {"input": [{"id": "k", "type": "book", "title": "A book", "author": ["Roe, Jo"], "issued": "2001"}]},
            {"entry_count": 1, "bibliography": "Roe, J. (2001). A book.", "style": "apa"},
        ),
        ToolExample("from BibTeX", {"input": _TURING, "format": "bibtex", "style": "ieee"}, needs="pybtex"),
        ToolExample(
            "in the style of a file",
            {"input": [{"id": "k", "type": "book", "title": "A book"}], "style": "journal.csl"},
            needs="a file of the Citation Style Language",
        ),
        ToolExample(
            "a check",
            {"operation": "validate_bibliography", "input": [{"id": "k", "type": "book", "title": "T", "ISBN": "1"}]},
            {"valid": False},
        ),
    )

    def access(self, parameters: CitationFormatterParameters) -> Sequence[Access]:
        """Return that a style may be a file."""
        return (PathAccess("style", "read"),) if _is_file(parameters.style) else ()

    async def run(self, parameters: CitationFormatterParameters, context: ToolContext) -> ToolResult:
        """Return the references, the check, the other format or the styles; see the reference page.

        Raises:
            ToolError: ``invalid_input``, ``not_found``, ``limit_exceeded``, ``timeout`` or ``missing_library``.
        """
        operation, given, form = parameters.operation, parameters.input, parameters.format
        if operation == "list_styles":
            styles = [{"name": name, "title": style.title} for name, style in STYLES.items()]
            return ToolResult(operation=operation, result={"styles": styles, "count": len(styles)})
        if form in ("bibtex", "yaml"):
            require(self.name, "citations", "pybtex" if form == "bibtex" else "ruamel.yaml")
        if isinstance(given, str):
            context.charge(4 * len(given))
        subject = (given, form, tuple(parameters.cite_keys))
        if operation == "validate_bibliography":
            result = await self._child(context, citation_program.validate, *subject)
            return ToolResult(operation=operation, result=result)
        if operation == "convert":
            result = await self._child(context, citation_program.convert, *subject, parameters.target_format)
            return ToolResult(operation=operation, result=result, text=result["output"])
        function: Any = citation_program.format_items
        style = parameters.style
        if _is_file(style):
            function, style = citation_program.format_by_style, await context.run_thread(_style_of, style, context)
        result = await self._child(context, function, *subject, style, parameters.markup)
        return ToolResult(operation=operation, result=result, text=result["bibliography"])

    async def _child(self, context: ToolContext, function: Any, *arguments: Any) -> Any:
        return await run_child(context, self.name, "citations", _TIME_S, function, *arguments)


def _style_of(path: str, context: ToolContext) -> str:
    """The text of a file with a style; for a thread."""
    try:
        return read_file(path, _MOST_STYLE_BYTES, lambda size_bytes: context.charge(8 * size_bytes)).decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"citation-formatter: style: {spelled_path(path)} is no text of UTF-8; give a .csl file"
        raise ToolError(message, code="invalid_input") from None
    except ResourceLimitError as error:
        message = f"citation-formatter: style: {spelled_path(path)} has more than {_MOST_STYLE_BYTES} bytes"
        raise ResourceLimitError(f"{message}; give a smaller one", resource=error.resource, limit=error.limit) from None
    except OSError as error:
        message = f"citation-formatter: style: {spelled_path(path)}: {error.strerror}; give a file that can be read"
        raise ToolError(message, code="not_found") from error
