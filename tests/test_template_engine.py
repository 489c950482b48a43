"""template_engine: Tera held against its documentation and its crate's tests, Handlebars against handlebars.js."""

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
from waiting import PATIENCE_S

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
    "two": 2,
    "index": 1,
    "key": "one",
    "lines": "a\nb\n",
    "family": "👩\u200d👧!",
    "first_of_family": "👩\u200d👧",
    "some": [{"a": {"b": 1}}, {"a": {"b": False}}, {"a": {"b": None}}, {"a": {}}, {}, {"a": {"b": 1}}],
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
    ("{{ name ~ ' ' ~ 3 }} {{ name ~ 1.5 | upper }}", "Ann 3 ANN1.5"),
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


# Each sentence of Tera's documentation that says what comes of something, and what its crate's own tests expect.
TERA += [
    # Literals and values.
    ("{{ 3.14 }} {{ 'hey' }} {{ `it's \"x\"` }} {{ true }} {{ False }}", "3.14 hey it's \"x\" true false"),
    ('{{ "{{ hey }}" }}', "{{ hey }}"),
    (r"{{ 'a\nb' }}", r"a\nb"),
    ("{% for a in [1, true, 1.1, 'hello',] %}{{ a }}{% endfor %}", "1true1.1hello"),
    ("{{ list[index] }} {{ map[key] }} {{ people.1.tags }}", "b 1 []"),
    ("{{ __tera_context | length > 10 }}", "true"),
    # Arithmetic.
    ("{{ 1 + 1 }} {{ 1 + 1.1 }} {{ 3 - 1.1 }} {{ 10 / 5 }} {{ 2 / 0.5 }} {{ 2.1 / 0.5 }}", "2 2.1 1.9 2 4 4.2"),
    ("{{ 2.1 * 5 }} {{ 2.1 * 5.05 }} {{ 2 + 1 * 2 }} {{ (2 + 1) * 2 }} {{ 2 * 4 % 8 }}", "10.5 10.605 4 6 0"),
    ("{{ 0 / 0 }} {{ 1 / 0 }} {% if 0 / 0 %}a{% else %}b{% endif %}", "NaN NaN b"),
    ("{{ 2 - 2 - 1 }} {{ 1 - 1 + 1 }} {{ -7 % 4 }}", "-1 1 -3"),
    ("{{ 1000000 * 1000000000000000.0 }} {{ 0.0000001 * 1 }}", "1000000000000000000000 0.0000001"),
    # Filters take all of the arithmetic before them.
    ("{{ 1.9 + two | round }} {{ (1.9 + two) | round }} {{ 2.8 * 2 | round }}", "4 4 6"),
    ("{{ list | length - 1 }} {{ list | length + 1 * 2 }} {{ 1.9 + two | round - 1 }}", "2 5 3"),
    ("{{ 1.9 + two | round - 1.8 + two | round }} {{ 1.9 + two | round - 1.8 + two | round - 1 }}", "0 -1"),
    ("{{ 1.9 + two | round == 4 and list | length == 3 }} {{ list | length > 1 }}", "true true"),
    # Logic.
    ("{{ true and 10 }} {{ true and not 10 }} {{ name and true }} {{ zero or '' }}", "true false true false"),
    ("{{ not missing }} {{ not name is defined }} {{ two is odd or 3 is odd }}", "true false true"),
    ("{{ 'n' in name }} {{ 'one' in map }} {{ 'x' not in list }} {{ 2 in [1, 2] }}", "true true true true"),
    # Loops and assignments.
    ("{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{% endfor %}",
     "10truefalse21falsefalse32falsetrue"),
    ("{% for l in name %}{{ loop.index }}{{ l }}{% endfor %}", "1A2n3n"),
    ("{% for i in list %}{% if i == 'b' %}{% break %}{% endif %}{{ i }}{% endfor %}", "a"),
    ("{% for i in list %}{% if i == 'b' %}{% continue %}{% endif %}{{ i }}{% endfor %}", "ac"),
    ("{% for i in range(end=5) | reverse %}{{ i }}{% endfor %}", "43210"),
    ("{% set x = 0 %}{% for i in range(end=5) %}{% set x = i %}{{ x }}{% endfor%}{{ x }}", "012340"),
    ("{% set x = 0 %}{% for i in range(end=5) %}{% set_global x = x + i %}{{ x }}{% endfor%}{{ x }}", "01361010"),
    ("{% set_global two = two + 1 %}{{ two }} {% if two > 2 %}{% set_global name = 'Eve' %}{% endif %}{{ name }}",
     "3 Eve"),
    ("{% set m = people | group_by(attribute='age') %}{% set_global ys = [] %}"
     "{% for y, ignored in m %}{% set_global ys = ys | concat(with=y) %}{% endfor %}{{ ys | reverse }}", "[20, 30]"),
    ("{% macro f(n) %}{% if n > 1 %}{{ n }} - {{ self::f(n=n-1) }}{% else %}1{% endif %}{% endmacro f %}"
     "{{ self::f(n=3) }}", "3 - 2 - 1"),
    ("{% filter upper %}Hello {% for i in range(end=3) %}i{% endfor %}{% endfilter %}", "HELLO III"),
    ("{% filter upper %}{% block a %}in{% endblock a %}{% endfilter %}", "IN"),
    ("My name {# was {{ name }} `'#}is {# a -#}  No One", "My name is No One"),
    ("{% raw %}{% if true %}{{ `x` }}{% endraw %}", "{% if true %}{{ `x` }}"),
    ("{% set my_var = 2 -%}\n{{ my_var }}", "2"),
    # Filters of texts.
    ("{{ 'ONE two' | capitalize }}", "One two"),
    ("{{ 'one two  three' | wordcount }} {{ 'Robert' | replace(from='Robert', to='Bob') }}", "3 Bob"),
    ('{{ "I\'m using Tera" | addslashes }}', r"I\'m using Tera"),
    ("{{ '-Hello world! ' | slugify }} {{ 'Straße, Ærø' | slugify }}", "hello-world strasse-aero"),
    ("{{ 'foo  bar' | title }} {{ 'wORD-other' | title }}", "Foo  Bar Word-Other"),
    ("[{{ ' a ' | trim }}{{ ' a ' | trim_start }}{{ ' a ' | trim_end }}]", "[aa  a]"),
    ("{{ '//a/b/c//' | trim_start_matches(pat='//') }} {{ '//a/b/c//' | trim_end_matches(pat='//') }}",
     "a/b/c// //a/b/c"),
    ("{{ 'abcdef' | truncate(length=3) }} {{ 'abcdef' | truncate(length=3, end='') }} {{ 'ab' | truncate(length=2) }}",
     "abc… abc ab"),
    ("{{ family | truncate(length=1, end='') == first_of_family }}", "true"),
    ("{{ lines | linebreaksbr }} {{ lines | indent(prefix='> ') }}", "a<br>b<br> a\n> b"),
    ("{{ lines | indent(prefix='> ', first=true, blank=true) }}", "> a\n> b"),
    ("{{ '<p> <a> </a>\r\n </p>' | spaceless }}", "<p><a></a></p>"),
    ("{{ '<b>Joel</b><!-- a > b -->' | striptags }}", "Joel"),
    (r"{{ 'a/b/cde/f' | split(pat='/') }} {{ lines | split(pat='\n') | length }}", "[a, b, cde, f] 3"),
    ("{{ '/foo?a=b&c=d' | urlencode }} {{ '/foo?a=b&c=d' | urlencode_strict }}",
     "/foo%3Fa%3Db%26c%3Dd %2Ffoo%3Fa%3Db%26c%3Dd"),
    ("{{ 'a-b_c.d~é' | urlencode_strict }}", "a%2Db%5Fc%2Ed%7E%C3%A9"),
    ("{{ html | escape }} {{ html | escape_xml }}",
     "&lt;a href=&quot;x&quot;&gt;&amp;&#x27;`=&lt;&#x2F;a&gt; &lt;a href=&quot;x&quot;&gt;&amp;&apos;`=&lt;/a&gt;"),
    # Filters of numbers.
    ("{{ -1 | abs }} {{ -2.0 | abs }}", "1 2"),
    ("{{ 1 }} message{{ 1 | pluralize }} {{ 2 }} message{{ 2 | pluralize }} {{ 0 | pluralize }}",
     "1 message 2 messages s"),
    ("categor{{ 2 | pluralize(singular='y', plural='ies') }} categor{{ -1 | pluralize(singular='y', plural='ies') }}",
     "categories category"),
    ("{{ 2.1 | round }} {{ 3.15159265359 | round(precision=2) }} {{ 2.11 | round(method='ceil', precision=1) }}",
     "2 3.15 2.2"),
    ("{{ 2.91 | round(method='floor', precision=1) }} {{ 2.5 | round }} {{ -2.5 | round }}", "2.9 3 -3"),
    ("{{ 123456789 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 1024 | filesizeformat }}",
     "117.74 MB 1000 B 1 KB"),
    ("{{ ' 12 ' | int }} {{ '0x1f' | int(base=16) }} {{ '1.9' | int }} {{ 'x' | int(default=7) }} {{ 2.9 | int }}",
     "12 31 1 7 2"),
    ("{{ '1.5' | float }} {{ 'x' | float(default=0.5) }} {{ 3 | float }}", "1.5 0.5 3"),
    # Filters of arrays.
    ("{{ list | nth(n=2) }}{{ list | nth(n=9) }}{{ empty | first }}{{ empty | last }}{{ empty | nth(n=0) }}", "c"),
    ("{{ [1.2, 3.4] | join }} {{ ['Cats', 'Dogs'] | join(sep='==') }}", "1.23.4 Cats==Dogs"),
    ("{{ [3, -1, 2] | sort }} {{ [true, false] | sort }} {{ [[1, 2], [], [5]] | sort }}",
     "[-1, 2, 3] [false, true] [[], [5], [1, 2]]"),
    ("{{ people | sort(attribute='tags') | map(attribute='name') }}", "[Bob, Ann]"),
    ("{{ ['a', 'A', 'b'] | unique }} {{ ['a', 'A', 'b'] | unique(case_sensitive=true) }}", "[a, b] [a, A, b]"),
    ("{{ [1, 2, 3, 4, 5] | slice(end=-2) }} {{ [1, 2, 3] | slice(start=-2) }} {{ [1, 2] | slice(start=1, end=9) }}",
     "[1, 2, 3] [2, 3] [2]"),
    ("{{ some | filter(attribute='a.b') | length }} {{ some | filter(attribute='a.b', value=false) | length }}", "3 1"),
    ("{{ some | map(attribute='a.b') }} {{ some | group_by(attribute='a.b') | length }}", "[1, false, 1] 2"),
    ("{{ list | concat(with='d') }} {{ list | concat(with=['d', 'e']) | length }}", "[a, b, c, d] 5"),
    # Filters of all.
    ("{{ name | length }} {{ map | length }} {{ 'Hello World' | reverse }}", "3 2 dlroW olleH"),
    ("{{ map | json_encode }} {{ [1, 'a', none] | json_encode }}", '{"one":1,"two":2} [1,"a",null]'),
    ("{{ list | json_encode(pretty=true) }}", '[\n  "a",\n  "b",\n  "c"\n]'),
    ("{{ map | as_str }} {{ list | as_str }} {{ 1.0 | as_str }}", "[object] [a, b, c] 1"),
    ("{{ map | get(key='one') }} {{ map | get(key='x/y', default='d') }}", "1 d"),
    ("more {{ '' | default(value='Louise') }}! {{ missing | default(value=1) }} {{ map.x | default(value=2) }}",
     "more ! 1 2"),
    ("{{ 1482720453 | date }} {{ 1482720453 | date(format='%Y-%m-%d %H:%M') }}", "2016-12-26 2016-12-26 02:47"),
    ("{{ '1996-12-19T16:39:57-08:00' | date(format='%Y-%m-%d %z') }}", "1996-12-19 -0800"),
    ("{{ '2017-03-05' | date(format='%a, %d %b %Y %H:%M:%S %z') }}", "Sun, 05 Mar 2017 00:00:00 +0000"),
    ("{{ '2017-03-05T00:00:00.602' | date(format='%a, %d %b %Y %H:%M:%S') }}", "Sun, 05 Mar 2017 00:00:00"),
    ("{{ '2019-09-19T01:48:44.581Z' | date(timezone='America/New_York') }}", "2019-09-18"),
    ("{{ 1648252203 | date(format='%H:%M', timezone='Europe/Berlin') }}", "00:50"),
    # Tests.
    ("{{ 3 is odd }} {{ -1 is odd }} {{ 4 is even }} {{ 10 is divisibleby(2) }} {{ 10 is divisibleby(0) }}",
     "true true true true false"),
    ("{{ 4.0 is divisibleby(2.1) }} {{ 'a' is string }} {{ 1 is string }} {{ 1.5 is number }} {{ true is number }}",
     "false true false true false"),
    ("{{ list is iterable }} {{ map is iterable }} {{ name is iterable }} {{ map is object }}", "true true false true"),
    ("{{ 'x/y' is starting_with('x/') }} {{ 'x/y' is ending_with('z') }}", "true false"),
    ("{{ 'hello world' is containing('hel') }} {{ list is containing('b') }} {{ map is containing('ho') }}",
     "true true false"),
    (r"{{ 'Hello, World!' is matching('(?i)(hello\W\sworld\W)') }} {{ 'abc' is matching('^b$') }}", "true false"),
    ("{{ missing is undefined }} {{ missing is not defined }}", "true true"),
]  # fmt: skip


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
    """What handlebars.js makes of it."""
    script = "const h=require('handlebars');const g=JSON.parse(require('fs').readFileSync(0));"
    script += "process.stdout.write(h.compile(g[0])(g[1]))"
    if shutil.which("node") is None:
        pytest.skip("node is not installed; .ci/run installs it")
    given = json.dumps([template, VALUES])
    paths = f"{os.environ.get('NODE_PATH', '')}:/usr/share/nodejs"  # there Debian's own node looks anyway
    environment = {**os.environ, "NODE_PATH": paths}
    command = ["node", "-e", script]
    done = subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if "Cannot find module 'handlebars'" in done.stderr:
        pytest.skip("node has no handlebars; apt-get install node-handlebars")
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
    assert await rendered(tmp_path, "{{ '/' }}{{ `'` }}{{ [x] }}", values, escape=True) == "&#x2F;&#x27;[&lt;&amp;&gt;]"
    assert (
        await rendered(tmp_path, "{{ x | safe | upper }}{{ x | upper | safe }}", values, escape=True)
        == "&lt;&amp;&gt;<&>"
    )
    assert await rendered(tmp_path, "{{ x | json_encode }}", values, escape=True) == "&quot;&lt;&amp;&gt;&quot;"
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


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a\n{{ items | map }}", r"line 2: map\(\) does not fit: it takes attribute"),
        ("{{ o | get(key='q') }}", r"get: there is no 'q'; give default="),
        ("{{ text | replace(from='a') }}", r"replace\(from='a'\) does not fit: it takes from and to"),
        ("{{ n | round(precision='a') }}", r"round\(precision='a'\) does not fit: it takes method and precision"),
        ("{{ n | abs(1) }}", r"abs\(1\) does not fit: it takes no argument"),
        ("{{ n is odd(3) }}", r"odd\(3\) does not fit"),
        ("{{ range(end='a') }}", r"range\(end='a'\) does not fit: it takes end"),
        ("\n{% include 'a.html' %}", "line 2: include cannot be used, .*; put the text here"),
        ("{% for a in items %}{{ loop.cycle('a', 'b') }}{% endfor %}", "there is no function 'cycle'; there are range"),
        (
            "{% for a in items %}{{ loop.length }}{% endfor %}",
            "loop has no 'length'; it has first, index, index0, last",
        ),
        ("{% for a in items %}{{ loop }}{% endfor %}", "loop is no value; it has first"),
        ("{{ __tera_globals }}", "__tera_globals is no name of a value"),
        ("{{ self }}", "self is no name of a value"),
        ("{% macro m() %}{{ varargs }}{% endmacro %}", "varargs is no name of a value"),
        ("{% macro m() %}{% endmacro %}{{ m }}", r"m is a macro; call it, as self::m\(\)"),
        ("{{ text.__class__ }}", "a text has no '__class__'"),
        ("{{ nothing }}", "there is no 'nothing'; give it in the context"),
        ("{{ text() }}", "a text is no function"),
        ("{{ -text }}", "- needs a number, and this is a text"),
        ("{{ text | uper }}", "there is no filter 'uper'; did you mean upper"),
        ("{% break %}", "break and continue stand within loops only"),
    ],
)
async def test_what_is_wrong_with_a_tera_template_is_told_in_its_own_words(
    tmp_path: Path, template: str, said: str
) -> None:
    values = {"items": [{"a": 1}], "o": {"k": 1}, "text": "ab", "n": 1.5}

    with pytest.raises(ToolError, match=said) as caught:
        await told(tmp_path, template, values, engine="tera")

    assert caught.value.code == "invalid_template"
    assert not any(word in str(caught.value) for word in ("object", "lambda", "undefined", "argument:", "jinja"))


async def test_values_may_have_the_names_that_jinja_gives_macros(tmp_path: Path) -> None:
    assert (
        await rendered(tmp_path, "{{ caller }} {{ kwargs }}", {"caller": "Ada", "kwargs": 1}, engine="tera") == "Ada 1"
    )


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
        "{{ missing / 1 }}",
        "{{ missing | upper }}",
        "{{ true ~ 'a' }}",
        "{{ list ~ 'a' }}",
        "{% for x in map %}{% endfor %}",
        "{% for x, y in list %}{% endfor %}",
        "{{ [1, 'a'] | sort }}",
        "{{ list | upper }}",
        "{{ name | first }}",
        "{{ 1.5 | length }}",
        "{{ 'a' is odd }}",
        "{{ missing is string }}",
        "{{ 1 is starting_with('a') }}",
        "{{ 2 | round(method='up') }}",
        "{{ -1 | filesizeformat }}",
        "{{ 'soon' | date }}",
        "{{ 0 | date(format='%Q') }}",
        "{{ 0 | date(timezone='Narnia') }}",
        "{{ map | get(key='three') }}",
        "{{ now() }}",
        "{{ get_random(end=5) }}",
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
        "{{ list | map }}",
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
