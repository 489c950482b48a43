"""Tera's templates as Jinja2 reads them, and what differs in expressions, texts, loops and values.

Invariant: a template reaches keys and items of the values, and nothing else of Python: no attribute, no method, no
other template, no environment, no clock. Sources: the documentation of Tera 1 and of Jinja2 3.1. It does not read
``include``, ``extends`` and ``import``, and has no ``now``, ``get_env`` and ``get_random``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.ext import Extension, LoopControlExtension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace, missing
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from llmspell_hookspecs.spelling import told

from .tera_filters import FILTERS, TESTS, NotANumber, escaped, joinable, kind_of, shown, there

__all__ = ["environment", "shown", "values_for"]

_LOOP: Final = frozenset({"index", "index0", "first", "last"})
_MOST: Final = 100_000
_GLOBALS: Final = "__tera_globals"
_HIDDEN: Final = frozenset({_GLOBALS, "self"})
_IN_MACROS: Final = frozenset({"varargs", "kwargs", "caller"})
"""Names that stand for what is no value: anywhere, and where Jinja2 gives macros more than Tera does."""
_CONTEXT: Final = "__tera_context"
_SIGNS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else NotANumber(),
    "%": lambda left, right: math.fmod(left, right) if right else NotANumber(),
}
_NODES: Final = {"add": nodes.Add, "sub": nodes.Sub, "mul": nodes.Mul, "div": nodes.Div, "mod": nodes.Mod}
_LOOSE: Final = ("add", "sub")
_OPENING: Final = re.compile(r"\{%-?\s*raw\s*-?%\}|\{[{%#]")
_ENDRAW: Final = re.compile(r"\{%-?\s*endraw\s*-?%\}")
_INNER: Final = re.compile(r"""(["'`])(.*?)\1|[%}]\}""", re.DOTALL)


def environment(*, escape: bool) -> SandboxedEnvironment:
    """Return what reads templates.

    Args:
        escape: Whether values are escaped for HTML.
    """
    made = _Tera(
        autoescape=escape,
        undefined=_Missing,
        finalize=_safe if escape else _kept,
        keep_trailing_newline=True,
        extensions=[_Language, LoopControlExtension],
    )
    made.globals = {"range": _range, "throw": _throw}
    made.filters = {**FILTERS, "pairs": _pairs, "items": _items, "truth": bool, "joinable": joinable}
    made.tests = dict(TESTS)
    return made


def values_for(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a template is rendered with: the values, also as those it sets for all of it, and as a text."""
    whole = Markup(json.dumps(values, ensure_ascii=False, indent=2))  # noqa: S704  # Tera does not escape it either
    return {**values, _GLOBALS: Namespace(values), _CONTEXT: whole}


def _kept(value: Any) -> Any:
    if isinstance(value, Macro):
        raise ValueError(f"{value.name} is a macro; call it, as self::{value.name}()")
    if isinstance(value, LoopContext):
        raise ValueError(f"loop is no value; it has {', '.join(sorted(_LOOP))}")
    return value if isinstance(value, str | Undefined) else shown(value)


@pass_context  # so that Jinja2 does not escape literals in its own way beforehand
def _safe(_: Context, value: Any) -> Any:
    """The value, escaped as Tera does it, which also hides ``/``."""
    kept = _kept(value)
    marked = isinstance(kept, Markup) or not isinstance(kept, str)
    return kept if marked else Markup(escaped(kept))  # noqa: S704  # it has just been escaped


class _Missing(StrictUndefined):
    """A value that is not there: false where that is asked, else an error."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name = told(self._undefined_name)
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"there is no {name}; give it in the context, or write | default(value=...) behind it"
        if isinstance(self._undefined_obj, LoopContext):
            return f"loop has no {name}; it has {', '.join(sorted(_LOOP))}"
        return f"{kind_of(self._undefined_obj)} has no {name}; write | default(value=...) behind it if that may be"

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


class _Language(Extension):
    """Reads what Tera writes otherwise: backquoted texts without escapes, ``self::name(...)``, ``set_global``."""

    tags = {"set_global"}  # noqa: RUF012  # as its base class has it

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Return the source with its texts as Jinja2 reads them; nothing else in it is touched."""
        return "".join(_with_texts(source))

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield the tokens without ``self::``, and without the name behind ``endmacro``."""
        for token in stream:
            if token.type == "name" and token.value == "self" and stream.current.type == "colon":
                next(stream)
                stream.expect("colon")
                continue
            yield token
            if token.type == "name" and token.value == "endmacro":
                stream.skip_if("name")

    def parse(self, parser: Parser) -> nodes.Node:
        """Read ``set_global name = value``."""
        line = next(parser.stream).lineno
        name = parser.stream.expect("name").value
        parser.stream.expect("assign")
        return nodes.Assign(nodes.NSRef(_GLOBALS, name, lineno=line), parser.parse_expression(), lineno=line)


def _with_texts(source: str) -> Iterator[str]:
    """The source piece by piece, in one walk: what is no tag as it is, and the texts within tags anew."""
    at = 0
    while opening := _OPENING.search(source, at):
        yield source[at : opening.end()]
        at = opening.end()
        if opening[0][1] == "#" or opening[0].endswith("}"):
            end = source.find("#}", at) if opening[0][1] == "#" else getattr(_ENDRAW.search(source, at), "start", int)()
            yield source[at : max(at, end)]
            at = max(at, end)
            continue
        while inner := _INNER.search(source, at):
            yield source[at : inner.start()]
            at = inner.end()
            yield _text_of(inner) if inner[1] else inner[0]
            if not inner[1]:
                break
        else:
            break  # it is never closed, which Jinja2 tells
    yield source[at:]


def _text_of(text: re.Match[str]) -> str:
    """A text as Jinja2 reads it: with a quote that it does not hold, and its backslashes as they are."""
    held = text[2].replace("\\", "\\\\")
    if text[1] != "`":
        return f"{text[1]}{held}{text[1]}"
    return '"' + held.replace('"', '\\"') + '"'


class _Parser(Parser):
    """Reads expressions as Tera does: a filter takes all of the arithmetic before it, and not its last value only."""

    def parse_unary(self, with_filter: bool = True) -> nodes.Expr:
        return super().parse_unary(with_filter=False)

    def parse_math1(self) -> nodes.Expr:
        """Read parts that end with their filters, and the signs between them."""
        terms, signs = [self.parse_filter_expr(super().parse_math1())], []
        while self.stream.current.type in _NODES:
            signs.append(next(self.stream).type)
            terms.append(self.parse_filter_expr(super().parse_math1()))
        for loose in (False, True):
            at = 0
            while at < len(signs):
                if (signs[at] in _LOOSE) == loose:
                    line = terms[at].lineno
                    terms[at : at + 2] = [_NODES[signs.pop(at)](terms[at], terms[at + 1], lineno=line)]
                else:
                    at += 1
        return terms[0]


class _Meaning(NodeTransformer):
    """Gives ``and``, ``or``, ``~``, loops and names that are set for all of a template the meaning that they have."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def visit_And(self, node: nodes.And) -> nodes.Node:  # noqa: N802
        """Make it true or false, not one of its sides."""
        return _filtered(self.generic_visit(node), "truth")

    visit_Or = visit_And  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Let only texts and numbers be joined."""
        made: Any = self.generic_visit(node)
        made.nodes = [_filtered(each, "joinable") for each in made.nodes]
        return made  # type: ignore[no-any-return]

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Let one name stand for items, and two for keys and values."""
        made: Any = self.generic_visit(node)
        made.iter = _filtered(made.iter, "pairs" if isinstance(made.target, nodes.Tuple) else "items")
        return made  # type: ignore[no-any-return]

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        """Ask for a name that is set for all of the template each time anew."""
        if node.name not in self._names or node.ctx == "param":
            return node
        if node.ctx == "store":
            return nodes.NSRef(_GLOBALS, node.name, lineno=node.lineno)
        return nodes.Getattr(nodes.Name(_GLOBALS, "load", lineno=node.lineno), node.name, "load", lineno=node.lineno)


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _check(tree: nodes.Template) -> None:
    """Refuse tags that need other templates, and names that stand for what is no value."""
    for tag in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        name = "import" if isinstance(tag, nodes.FromImport) else type(tag).__name__.lower()
        raise TemplateSyntaxError(
            f"{name} cannot be used, for there is this one template; put the text here", tag.lineno
        )
    macros = (each for macro in tree.find_all(nodes.Macro) for each in macro.find_all(nodes.Name))
    hidden = [each for each in tree.find_all(nodes.Name) if each.name in _HIDDEN]
    for each in (*hidden, *(each for each in macros if each.name in _IN_MACROS and each.ctx == "load")):
        raise TemplateSyntaxError(f"{each.name} is no name of a value here; use another", each.lineno)


class _Tera(SandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})
    intercepted_unops = frozenset({"+", "-"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = _Parser(self, source, name, filename).parse()
        _check(tree)
        names = frozenset(each.attr for each in tree.find_all(nodes.NSRef))
        meant: nodes.Template = _Meaning(names).visit(tree)
        meant.set_environment(self)
        return meant

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        if isinstance(obj, Namespace):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(name=attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj[argument]
        try:
            if isinstance(obj, Mapping) or (isinstance(obj, list | tuple) and isinstance(argument, int)):
                return obj[argument]
        except LookupError:
            pass
        return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return isinstance(obj, Macro) or obj in (_range, _throw)

    def call(self, context: Context, obj: Any, /, *given: Any, **named: Any) -> Any:
        """Call a macro or a function; anything else is told by its kind."""
        if isinstance(obj, Undefined):
            raise ValueError(f"there is no function {told(obj._undefined_name)}; there are range, throw and macros")
        if not self.is_safe_callable(obj):
            raise ValueError(f"{kind_of(obj)} is no function; there are range, throw and macros (self::name())")
        try:
            return super().call(context, obj, *given, **named)
        except TypeError as error:
            if isinstance(obj, Macro):
                raise
            said = ", ".join([*map(told, given), *(f"{name}={told(item)}" for name, item in named.items())])
            takes = "end, start and step_by, whole numbers" if obj is _range else "message"
            name = "range" if obj is _range else "throw"
            raise ValueError(f"{name}({said}) does not fit: it takes {takes}") from error

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        if isinstance(arg, bool) or not isinstance(arg, int | float):
            kind = "the result of a division by zero" if isinstance(arg, NotANumber) else kind_of(there(arg))
            raise ValueError(f"{operator} needs a number, and this is {kind}")
        return super().call_unop(context, operator, arg)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator not in _SIGNS:
            raise ValueError(f"there is no {operator}")
        for value in (left, right):
            if isinstance(there(value), bool) or not isinstance(value, int | float):
                raise ValueError(f"{operator} needs numbers; ~ joins texts")
        if abs(left) > 1 << 63 or abs(right) > 1 << 63:
            raise ValueError(f"{operator}: a number is too large")
        result = _SIGNS[operator](left, right)
        whole = operator == "%" and isinstance(result, float) and isinstance(left, int) and isinstance(right, int)
        return int(result) if whole else result


def _range(end: int, start: int = 0, step_by: int = 1) -> list[int]:
    made = range(start, end, step_by)
    if len(made) > _MOST:
        raise ValueError(f"range: more than {_MOST} numbers")
    return list(made)


def _throw(message: str) -> str:
    raise ValueError(str(message))


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Undefined) or not isinstance(value, Mapping):
        raise ValueError("for with two names takes an object; with one it takes an array or a text")
    return list(value.items())


def _items(value: Any) -> list[Any]:
    if not isinstance(there(value), list | tuple | str):
        raise ValueError("for with one name takes an array or a text; with two it takes an object")
    return list(value)
