"""template_engine: Tera held against its documentation and Jinja2, Handlebars against handlebars.js and its guide."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_plugins.tools.utility.template_engine import TemplateEngine
from tool_host import ask, settings_of

pytest.importorskip("jinja2", reason="jinja2 comes with the extra templates")

VALUES: dict[str, Any] = {
    "name": "Ann",
    "html": '<a href="x">&\'`=</a>',
    "yes": True,
    "no": False,
    "zero": 0,
    "none": None,
    "empty": [],
    "list": ["a", "b", "c"],
    "people": [{"name": "Ann", "age": 30, "tags": ["x", "y"]}, {"name": "Bob", "age": 20, "tags": []}],
    "deep": {"er": {"still": "down"}, "name": "inner"},
    "map": {"one": 1, "two": 2},
    "odd key": {"a b": "c"},
}


async def told(folder: Path, template: str, values: dict[str, Any] = VALUES, /, **more: Any) -> Any:
    return (await ask(TemplateEngine, folder, input=template, context=values, **more)).result


async def rendered(folder: Path, template: str, values: dict[str, Any] = VALUES, /, **more: Any) -> str:
    result = await told(folder, template, values, **more)
    assert (result["template_length"], result["context_size"]) == (len(template), len(values))
    return str(result["rendered"])


# From the documentation of Tera 1, and what its crate renders.
TERA = [
    ("Hello {{ name }}!", "Hello Ann!"),
    ("{{ yes }} {{ none }}|{{ list }} {{ map }}", "true |[a, b, c] [object]"),
    ("{{ 1 + 2 * 3 }} {{ 7 % 4 }} {{ 5 - 8 }}", "7 3 -3"),
    ("{{ deep.er.still }} {{ people.0.name }} {{ people[1].age }} {{ map['two'] }}", "down Ann 20 2"),
    ("{% if zero %}a{% elif yes and not no %}b{% else %}c{% endif %}", "b"),
    ("{% if missing %}a{% else %}b{% endif %}", "b"),
    ("{% for key, value in map %}{{ key }}={{ value }};{% endfor %}", "one=1;two=2;"),
    ("{% for x in list %}{{ loop.index }}{{ x }}{% if loop.last %}.{% endif %}{% endfor %}", "1a2b3c."),
    ("{% for x in empty %}a{% else %}none{% endfor %}", "none"),
    ("{% for n in range(end=5, start=1, step_by=2) %}{{ n }}{% endfor %}", "13"),
    ("{% set x = 5 %}{{ x }}{# a note #}{% raw %}{{ x }}{% endraw %}", "5{{ x }}"),
    ("{% macro hi(who='you') %}hi {{ who }}{% endmacro %}{{ self::hi(who=name) }} {{ self::hi() }}", "hi Ann hi you"),
    ("a  {%- if yes -%}  b  {%- endif -%}  c", "abc"),
    ("{{ missing | default(value='none') }}", "none"),
    ("{{ name ~ ' ' ~ 3 | abs }}", "Ann 3"),
    ("{{ 'a-b' | replace(from='-', to='+') | upper }}", "A+B"),
    ("{{ 'Hello, Wörld & all' | slugify }}", "hello-world-all"),
    ("{{ 'a long text' | truncate(length=6) }}", "a long…"),
    ("{{ list | join(sep=', ') }} {{ list | first }} {{ list | last }} {{ list | length }}", "a, b, c a c 3"),
    ("{{ list | slice(start=1) | reverse }} {{ list | nth(n=1) }}", "[c, b] b"),
    ("{{ people | sort(attribute='age') | map(attribute='name') }}", "[Bob, Ann]"),
    ("{{ people | filter(attribute='age', value=30) | length }}", "1"),
    ("{{ people | group_by(attribute='name') | get(key='Bob') | length }}", "1"),
    ("{{ 2.45 | round(precision=1) }} {{ 2.1 | round(method='ceil') }}", "2.5 3"),
    ("{{ map | json_encode }}", '{"one":1,"two":2}'),
    ("{{ 'a b/c' | urlencode }} {{ 'x' | concat(with='y') | length if no else 2 }}", "a%20b/c 2"),
    ("{% if name is starting_with('A') and 4 is even and 9 is divisibleby(3) %}yes{% endif %}", "yes"),
    ("{% if 'b' in list and 'z' not in list %}in{% endif %}", "in"),
]


@pytest.mark.parametrize(("template", "expected"), TERA)
async def test_tera_renders_as_its_documentation_says(tmp_path: Path, template: str, expected: str) -> None:
    assert await rendered(tmp_path, template, engine="tera") == expected


HANDLEBARS = [
    ("Hello {{name}}! {{missing}}{{deep.nothing.there}}", "Hello Ann! "),
    ("{{html}}|{{{html}}}|{{&html}}", None),
    ("{{#if yes}}a{{else}}b{{/if}}{{#if empty}}a{{else}}b{{/if}}{{#unless no}}c{{/unless}}", "abc"),
    ("{{#if zero}}a{{else if no}}b{{else if yes}}c{{else}}d{{/if}}", "c"),
    ("{{#if zero includeZero=true}}a{{/if}}", "a"),
    ("{{#each list}}{{@index}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}", "0a, 1b, 2c"),
    ("{{#each map}}{{@key}}={{this}};{{/each}}{{#each empty}}a{{else}}none{{/each}}", "one=1;two=2;none"),
    ("{{#each people}}{{name}} of {{../name}}: {{#each tags}}{{.}}{{../age}}{{@../index}}{{/each}};{{/each}}", None),
    ("{{#each people as |person at|}}{{at}}{{person.name}}{{/each}}", "0Ann1Bob"),
    ("{{#with deep}}{{name}} {{er.still}} {{@root.name}}{{/with}}", "inner down Ann"),
    ("{{#deep}}{{name}}{{/deep}}{{^no}}b{{/no}}{{#list}}{{.}}{{/list}}{{#no}}c{{^}}d{{/no}}", "innerbabcd"),
    ("{{lookup map 'two'}} {{people.[1].name}} {{people.0.name}} {{[odd key].[a b]}}", "2 Bob Ann c"),
    ("{{#with (lookup people 1)}}{{name}}{{/with}}", "Bob"),
    ("a {{! note }}b{{!-- a {{tag}} --}}c", "a bc"),
    ("a  {{~#if yes~}}  b  {{~/if~}}  c", "abc"),
    ("a\n  {{#if yes}}\n  b\n  {{else}}\n  c\n  {{/if}}\nd\n{{! alone }}\ne", "a\n  b\nd\ne"),
    ("\\{{name}} {{yes}} {{zero}} {{list.length}}", "{{name}} true 0 3"),
    ("{{#each people}}\n{{name}}\n{{#each tags}}\n - {{this}}\n{{/each}}\n{{/each}}\nend", None),
]


def handlebars_js(template: str) -> str:
    """What handlebars.js makes of it; NODE_PATH says where the module is."""
    script = "const h=require('handlebars');const g=JSON.parse(require('fs').readFileSync(0));"
    script += "process.stdout.write(h.compile(g[0])(g[1]))"
    if shutil.which("node") is None:
        pytest.skip("node is not installed; .ci/run installs it")
    given = json.dumps([template, VALUES])
    done = subprocess.run(["node", "-e", script], input=given, capture_output=True, text=True, timeout=60, check=False)
    if "Cannot find module 'handlebars'" in done.stderr:
        pytest.skip("node has no handlebars; run npm install handlebars and set NODE_PATH")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("template", "expected"), [case for case in HANDLEBARS if case[1] is not None])
async def test_handlebars_renders_as_its_guide_says(tmp_path: Path, template: str, expected: str) -> None:
    assert await rendered(tmp_path, template, engine="handlebars") == expected


@pytest.mark.parametrize("template", [template for template, _ in HANDLEBARS if "@../" not in template])
async def test_handlebars_renders_as_handlebars_js_does(tmp_path: Path, template: str) -> None:
    assert await rendered(tmp_path, template, engine="handlebars") == handlebars_js(template)


async def test_comparing_helpers_are_those_of_the_crate(tmp_path: Path) -> None:
    template = "{{#if (and (gt people.0.age 20) (eq name 'Ann') (not no))}}a{{/if}}{{#if (or no (lt 2 1))}}b{{/if}}"

    assert await rendered(tmp_path, template, engine="handlebars") == "a"


@pytest.mark.parametrize(
    ("template", "engine"),
    [
        ("{{ name }}", "tera"),
        ("{% if yes %}{{ name }}{% endif %}", "tera"),
        ("{# note #}{{ name }}", "tera"),
        ("{{#if yes}}a{{/if}}", "handlebars"),
        ("{{{name}}}", "handlebars"),
    ],
)
async def test_the_engine_is_told_by_the_template(tmp_path: Path, template: str, engine: str) -> None:
    assert (await told(tmp_path, template))["engine"] == engine


async def test_the_engine_that_is_named_counts_and_older_names_of_parameters_are_taken(tmp_path: Path) -> None:
    one = await ask(TemplateEngine, tmp_path, template="{{ x }}", variables={"x": "<"}, engine="handlebars")
    two = await ask(TemplateEngine, tmp_path, template="{{{ x }}}", variables={"x": "<"}, auto_detect=True)

    assert (one.result["rendered"], two.result["rendered"]) == ("&lt;", "<")


async def test_values_are_escaped_for_html_as_asked(tmp_path: Path) -> None:
    values = {"x": "<&>"}

    assert await rendered(tmp_path, "{{ x }}", values) == "<&>"
    assert await rendered(tmp_path, "{{ x }}{{ x | safe }}", values, escape=True) == "&lt;&amp;&gt;<&>"
    assert await rendered(tmp_path, "{{x}}", values, engine="handlebars", escape=False) == "<&>"


@pytest.mark.parametrize(
    ("template", "engine", "line"),
    [
        ("a\n{% if x %}", "tera", 2),
        ("{{ x | nofilter }}", "tera", 1),
        ("{% for x in %}{% endfor %}", "tera", 1),
        ("a\n\n{{#if x}}", "handlebars", 3),
        ("{{#if x}}{{/each}}", "handlebars", 1),
        ("{{#if}}{{/if}}", "handlebars", 1),
        ("\n{{> partial}}", "handlebars", 2),
        ("{{lookup (a b}}", "handlebars", 1),
    ],
)
async def test_a_wrong_template_is_told_with_its_line(tmp_path: Path, template: str, engine: str, line: int) -> None:
    verdict = await told(tmp_path, template, operation="validate", engine=engine)
    with pytest.raises(ToolError, match=f"line {line}: .*; correct it") as caught:
        await told(tmp_path, template, engine=engine)

    assert (verdict["valid"], verdict["errors"][0]["line"]) == (False, line)
    assert caught.value.code == "invalid_template"


@pytest.mark.parametrize(("template", "engine"), [("{{ a }}{% if b %}{% endif %}", "tera"), ("{{#if a}}{{/if}}", "")])
async def test_a_right_template_is_valid_though_no_value_is_there(tmp_path: Path, template: str, engine: str) -> None:
    given = {"engine": engine} if engine else {}

    verdict = await told(tmp_path, template, {}, operation="validate", **given)

    assert (verdict["valid"], verdict["errors"], verdict["engine"]) == (True, [], engine or "handlebars")


@pytest.mark.parametrize(
    "template",
    [
        "{{ missing }}",
        "{{ deep.missing.more }}",
        "{{ name + 1 }}",
        "{{ 1 / 0 }}",
        "{{ name.upper() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ name.__class__ }}",
        "{{ range.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ loop }}{{ lipsum }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ list.append(1) }}",
        "{{ '%s' | format(1) }}",
        "{{ name | attr('upper') }}",
        "{{ list | map('upper') }}",
        "{% for x in list %}{{ loop.__class__ }}{% endfor %}",
        "{% for x in list %}{{ loop.__init__ }}{% endfor %}",
        "{{ throw(message='stop') }}",
        "{% include '/etc/passwd' %}",
        "{% extends 'a' %}",
        "{% import 'a' as b %}",
        "{{ get_env(name='HOME') }}",
        "{{ 2 ** 9 }}",
        "{{ 1 | upper }}",
        "{{ people | sort }}",
        "{% if name is matching('(') %}{% endif %}",
    ],
)
async def test_what_is_missing_or_not_for_templates_is_one_error(tmp_path: Path, template: str) -> None:
    with pytest.raises(ToolError) as caught:
        await told(tmp_path, template, engine="tera")

    assert caught.value.code == "invalid_template", caught.value
    assert "\n" not in str(caught.value) and os.environ.get("HOME", "/root") not in str(caught.value)


ENDLESS = "{% for a in range(end=100000) %}{% for b in range(end=100000) %}{% endfor %}{% endfor %}"
EACH = "{{#each big}}" * 5 + "{{/each}}" * 5
LONG = "{% for a in range(end=100000) %}{{ text }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "engine", "error"),
    [
        (ENDLESS, "tera", "took longer than 5 s"),
        ("{% macro m() %}{{ self::m() }}{% endmacro %}{{ self::m() }}", "tera", "nested too deep|memory"),
        (LONG, "tera", "longer than 5000000 characters"),
        ("{{ 'a' * 1000000000 }}", "tera", "needs numbers"),
        ("{{ range(end=1000000000) }}", "tera", "more than 100000"),
        ("{% set x = text %}" + "{% set x = x ~ x %}" * 30 + "{{ x }}", "tera", "memory|longer"),
        ("{% if (x" * 5000, "tera", "correct it"),
        ("{{ " + "(" * 50_000 + " }}", "tera", "correct it|memory"),
        (EACH.replace("big}}{{/", "big}}x{{/").replace("{{#each big}}" * 5, "{{#each @root.big}}" * 5 + "xxxxxxxxxx"),
         "handlebars", "longer than|took longer"),
        ("{{#if yes}}" * 200, "handlebars", "nested deeper than 100"),
        ("{{" + "(a " * 200 + "}}", "handlebars", "nested deeper than 100"),
        ("{{" * 100_000, "handlebars", "not closed"),
    ],
)  # fmt: skip
async def test_what_would_never_end_or_fill_the_memory_ends_in_one_error(
    tmp_path: Path, template: str, engine: str, error: str
) -> None:
    values = {"big": list(range(300)), "text": "x" * 1000, "yes": True, "x": 1}

    with pytest.raises((ToolError, ResourceLimitError), match=error) as caught:
        await told(tmp_path, template, values, engine=engine)

    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


async def test_what_is_no_parameter_is_refused(tmp_path: Path) -> None:
    for wrong in ({"engine": "erb"}, {"context": [1]}, {"input": "x" * 1_000_001}, {"tempalte": "x"}):
        with pytest.raises(InvalidInputError):
            await ask(TemplateEngine, tmp_path, **{"input": "x", **wrong})


async def test_a_cancelled_call_ends_though_its_template_does_not(tmp_path: Path) -> None:
    async with opened(TemplateEngine, settings=settings_of(tmp_path)) as host:
        with trio.move_on_after(0.3) as scope:
            await host.call("tool:template_engine", {"input": ENDLESS})
        after = await host.call("tool:template_engine", {"input": "{{ x }}", "context": {"x": 1}})

    assert scope.cancelled_caught
    assert after.result["rendered"] == "1"
