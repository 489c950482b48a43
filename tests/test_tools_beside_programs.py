"""Tools that compute, each operation beside a program that does the same: bc, jq, yq, sqlite3, xmllint and others."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import ToolResult
from oracles import called, oracle

TEXT = "  The quick\tbrown fox,  jumps over\nthe lazy dog; again and again it jumps.  "
SHORT = "the quick brown fox"
CODE = "    if a:\n        b = 1\n\n    c = 2"
PROGRAMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "uppercase": (TEXT, {}, "tr a-z A-Z"),
    "lowercase": (TEXT, {}, "tr A-Z a-z"),
    "reverse": (SHORT, {}, "rev"),
    "trim": (TEXT, {}, r"perl -0pe 's/^\s+|\s+\z//g'"),
    "replace": (TEXT, {"from": "again", "to": "st.ll"}, "sed s/again/st.ll/g"),
    "substring": (SHORT, {"start": 4, "end": 9}, "cut -c 5-9"),
    "split": (SHORT, {"delimiter": " "}, r"tr ' ' '\n'"),
    "join": ("a b\nc\nd", {"delimiter": ";"}, "paste -sd ';'"),
    "snake_case": (SHORT, {}, "tr ' ' _"),
    "camel_case": (SHORT, {}, r"perl -pe 's/ (\w)/\U$1/g'"),
    "pascal_case": (SHORT, {}, r"perl -pe 's/(^| )(\w)/\U$2/g'"),
    "sanitize": ("a\x1b[31mb\x07c\td", {}, r"sed 's/\x1b//g' | tr -d '\000-\010\013-\037'"),
    "truncate": (SHORT, {"max_length": 10}, r"cut -c 1-7 | sed 's/$/.../'"),
    "indent": (CODE, {"spaces": 3}, r"sed '/./s/^/   /'"),
    "dedent": (CODE, {}, r"sed 's/^    //'"),
    "normalize_whitespace": (TEXT, {}, r"tr -s ' \t\n' ' ' | sed 's/^ //;s/ $//'"),
    "word_wrap": (SHORT * 5, {"width": 30}, r"fold -s -w 31 | sed 's/ *$//'"),
}


def shell(command: str, given: str = "", folder: Path | None = None) -> str:
    """What a shell's command prints of a text."""
    return oracle("sh", "-c", f"cd '{folder}' && {command}" if folder else command, given=given)


async def told(folder: Path, tool: str, /, **parameters: Any) -> Any:
    return (await called(folder, tool, **parameters)).result


@pytest.mark.parametrize("operation", PROGRAMS)
async def test_a_text_becomes_what_a_program_makes_of_it(tmp_path: Path, operation: str) -> None:
    text, options, command = PROGRAMS[operation]

    result = (await told(tmp_path, "text_manipulator", operation=operation, input=text, options=options))["result"]

    expected = shell(command, text).removesuffix("\n")
    assert ("\n".join(result) if isinstance(result, list) else result) == expected


NUMBERS = [
    "2 + 3 * 4 - 5 / 8",
    "2 ^ 10 - 7",
    "sqrt(2) * (1 + 1/3)",
    "sin(0.5) + cos(0.25)",
    "exp(1.5) - ln(7)",
    "atan(0.3)",
]
IN_BC = {"sin": "s", "cos": "c", "exp": "e", "ln": "l", "atan": "a"}


@pytest.mark.parametrize("text", NUMBERS)
async def test_a_value_is_what_bc_computes(tmp_path: Path, text: str) -> None:
    result = await told(tmp_path, "calculator", operation="evaluate", input=text)

    written = re.sub(r"\b(sin|cos|exp|ln|atan)\b", lambda name: IN_BC[name[0]], text)
    assert math.isclose(result["result"], float(oracle("bc", "-l", given=f"scale=20; {written}\n")), rel_tol=1e-12)


@pytest.mark.parametrize("text", ["1 + 2 * 3", "(1 + 2", "2 ** 3", "1 +", "3 / (4 - 1)", "1 2", "((1))", ")"])
async def test_an_expression_is_valid_where_awk_reads_it(tmp_path: Path, text: str) -> None:
    verdict = await told(tmp_path, "calculator", operation="validate", input=text)

    read = shell(f"awk 'BEGIN {{ x = ({text}) }}' 2>/dev/null && echo yes || echo no").strip()
    assert (verdict["valid"], text) == (read == "yes" and text != "1 2", text)  # awk joins what stands side by side


async def test_every_function_that_is_listed_gives_what_perl_gives(tmp_path: Path) -> None:
    groups = await told(tmp_path, "calculator", operation="functions")
    named = [
        re.match(r"\w+", each)
        for name in ("trigonometric", "hyperbolic", "exponential", "rounding")
        for each in groups[name]
    ]
    names = [found[0] for found in named if found]
    script = (
        "use POSIX qw(floor ceil tan asin acos sinh cosh tanh atan); my $x = 0.6; my %f = ("
        "sin => sin($x), cos => cos($x), tan => tan($x), asin => asin($x), acos => acos($x), atan => atan($x),"
        "sinh => sinh($x), cosh => cosh($x), tanh => tanh($x), asinh => log($x + sqrt($x**2 + 1)),"
        "acosh => 'NaN', atanh => 0.5 * log((1 + $x) / (1 - $x)), sqrt => sqrt($x), exp => exp($x), ln => log($x),"
        "log => log($x) / log(10), abs => abs($x), sign => $x <=> 0, int => int($x), ceil => ceil($x),"
        "floor => floor($x), round => floor($x + 0.5)); printf qq(%s %.15g\n), $_, $f{$_} for sort keys %f"
    )
    expected = dict(line.split() for line in oracle("perl", "-e", script).splitlines())

    assert sorted(names) == sorted(expected)
    for name in names:
        value = (await told(tmp_path, "calculator", input=f"{name}(0.6)"))["result"]
        assert expected[name] == "NaN" or math.isclose(float(value), float(expected[name]), rel_tol=1e-12), name


EDGES = [("a", "b", 1), ("b", "c", 1), ("a", "c", 5), ("c", "d", 2), ("d", "e", 1), ("b", "e", 9)]
GRAPH: dict[str, Any] = {
    "graph_type": "directed",
    "nodes": [{"id": name} for name in "abcde"],
    "edges": [{"from": one, "to": other, "weight": weight} for one, other, weight in EDGES],
}
DOT = "digraph { " + "".join(f"{one} -> {other} [len={weight}]; " for one, other, weight in EDGES) + "}"


def counted(dot: str) -> list[int]:
    """How many nodes and edges gc of Graphviz counts."""
    return [int(word) for word in oracle("gc", "-n", "-e", given=dot).split()[:2]]


async def test_nodes_and_edges_that_are_put_in_are_those_that_gc_counts(tmp_path: Path) -> None:
    made = (await told(tmp_path, "graph-builder", operation="create_graph"))["graph"]
    assert counted((await told(tmp_path, "graph-builder", operation="export_dot", graph=made))["content"]) == [0, 0]

    for name in "abcde":
        made = (await told(tmp_path, "graph-builder", operation="add_node", graph=made, node_id=name))["graph"]
    for one, other, weight in EDGES:
        edge = {"from": one, "to": other, "weight": weight}
        made = (await told(tmp_path, "graph-builder", operation="add_edge", graph=made, **edge))["graph"]

    written = (await told(tmp_path, "graph-builder", operation="export_dot", graph=made))["content"]
    assert counted(written) == counted(DOT) == [5, 6]
    assert oracle("jq", "-r", '.edges[] | "\\(.from) \\(.to) \\(.weight)"', given=made).splitlines() == [
        f"{one} {other} {weight}" for one, other, weight in EDGES
    ]


async def test_a_graph_as_json_is_what_jq_reads_and_comes_back(tmp_path: Path) -> None:
    written = await told(tmp_path, "graph-builder", operation="export_json", graph=GRAPH)
    back = await told(tmp_path, "graph-builder", operation="import_json", input=written["json"])

    assert oracle("jq", "-c", "[(.nodes | length), (.edges | length)]", given=written["json"]).strip() == "[5,6]"
    again = (await told(tmp_path, "graph-builder", operation="export_dot", graph=back["graph"]))["content"]
    assert counted(again) == [5, 6]


async def test_the_shortest_path_is_as_long_as_dijkstra_says(tmp_path: Path) -> None:
    for target in "bcde":
        result = await told(tmp_path, "graph-builder", operation="path", graph=GRAPH, **{"from": "a", "to": target})

        told_by = oracle("dijkstra", "-d", "a", given=DOT)
        node = re.search(rf"\b{target}\s+\[[^\]]*dist=\"?([\d.]+)", told_by)
        assert node is not None
        assert result["length"] == float(node[1])


async def test_the_centrality_by_degree_is_what_jq_counts(tmp_path: Path) -> None:
    result = await told(tmp_path, "graph-builder", operation="centrality", graph=GRAPH)

    program = "[.nodes[].id] as $n | [.edges[] | .from, .to] as $e | [$n[] | . as $i | {key: ., value: "
    program += "(([$e[] | select(. == $i)] | length) / (($n | length) - 1))}] | from_entries"
    assert result["degree"] == json.loads(oracle("jq", "-c", program, given=json.dumps(GRAPH)))


async def test_the_order_is_one_that_tsort_gives(tmp_path: Path) -> None:
    result = await told(tmp_path, "graph-builder", operation="topological", graph=GRAPH)

    pairs = "".join(f"{one} {other}\n" for one, other, _ in EDGES)
    assert result["order"] == oracle("tsort", given=pairs).split()  # it has one order only


async def test_the_drawing_for_mermaid_has_the_edges_that_gc_counts_once_sed_makes_dot_of_it(tmp_path: Path) -> None:
    written = (await told(tmp_path, "graph-builder", operation="export_mermaid", graph=GRAPH))["content"]

    as_dot = oracle(
        "sed",
        "-e",
        "s/^graph TD/digraph {/",
        "-e",
        's/\\["\\(.*\\)"\\]/ [label="\\1"]/',
        "-e",
        "s/-->/->/",
        given=written,
    )
    assert counted(as_dot + "}") == [5, 6]


VALUE: dict[str, Any] = {"people": [{"name": "Ada", "age": 36}, {"name": "Bob", "age": 41}], "x": [1, 2.5, None, "ü"]}


@pytest.mark.parametrize("operation", ["query", "transform", "jq"])
@pytest.mark.parametrize(
    "query",
    [".people[].name", "[.people[] | select(.age > 40)]", ".x | map(type)", "[.people[].age] | add", "keys", ".x[1:3]"],
)
async def test_a_query_answers_what_the_program_jq_answers(tmp_path: Path, operation: str, query: str) -> None:
    pytest.importorskip("jq", reason="jq comes with the extra data")

    result = await told(tmp_path, "json_processor", operation=operation, input=VALUE, query=query)

    lines = [json.loads(line) for line in oracle("jq", "-c", query, given=json.dumps(VALUE)).splitlines()]
    assert result == (lines[0] if len(lines) == 1 else lines)


async def test_lines_are_streamed_and_texts_parsed_as_by_the_program_jq(tmp_path: Path) -> None:
    pytest.importorskip("jq", reason="jq comes with the extra data")
    lines = '{"a": 1}\n{"a": [2]}\n{"b": 3}\n'

    streamed = await told(tmp_path, "json_processor", operation="stream", input=lines, query=".a")
    parsed = await told(tmp_path, "json_processor", operation="parse", input='{"a": [1, 2.50, "\\u00fc"]}')

    assert streamed == [json.loads(line) for line in oracle("jq", "-c", ".a", given=lines).splitlines()]
    assert parsed == json.loads(oracle("jq", "-c", ".", given='{"a": [1, 2.50, "\\u00fc"]}'))


JUDGE = (
    "const [v, s] = JSON.parse(require('fs').readFileSync(0)); const kind = x => x === null ? 'null' : Array.isArray(x)"
    " ? 'array' : Number.isInteger(x) ? 'integer' : typeof x; const fits = (x, t) => t === kind(x) ||"
    " (t === 'number' && kind(x) === 'integer'); const ok = (x, s) => (!s.type || fits(x, s.type)) &&"
    " (!s.required || s.required.every(k => k in x)) && (!s.minimum || x >= s.minimum) && (!s.enum ||"
    " s.enum.includes(x)) && (!s.properties || Object.entries(s.properties).every(([k, t]) => !(k in x) ||"
    " ok(x[k], t))); console.log(ok(v, s))"
)


@pytest.mark.parametrize(
    ("value", "valid"),
    [({"n": 3, "k": "a"}, True), ({"n": 2.5}, False), ({"k": "a"}, False), ({"n": 3, "k": "c"}, False)],
)
async def test_a_value_is_valid_where_node_says_so(tmp_path: Path, value: Any, valid: bool) -> None:
    pytest.importorskip("jsonschema", reason="jsonschema comes with the extra data")
    properties = {"n": {"type": "integer", "minimum": 1}, "k": {"enum": ["a", "b"]}}
    schema = {"type": "object", "required": ["n"], "properties": properties}

    result = await told(tmp_path, "json_processor", operation="validate", input=value, schema=schema)

    assert result["valid"] is valid
    assert json.loads(oracle("node", "-e", JUDGE, given=json.dumps([value, schema]))) is valid


YAML = "a: {x: 1, y: [2, three]}\nb:\n  - t: text\n  - null\nc: 1.5\n"


async def test_yaml_is_read_looked_up_and_written_as_by_yq(tmp_path: Path) -> None:
    parsed = await told(tmp_path, "yaml-processor", input=YAML)
    found = await told(tmp_path, "yaml-processor", operation="query", input=YAML, query="a.y.1")
    written = (await told(tmp_path, "yaml-processor", operation="dump", input=VALUE))["yaml"]

    assert parsed == json.loads(oracle("yq", ".", given=YAML))
    assert found == json.loads(oracle("yq", ".a.y[1]", given=YAML))
    assert json.loads(oracle("yq", ".", given=written)) == VALUE


async def test_yaml_is_merged_as_jq_multiplies(tmp_path: Path) -> None:
    other = "a: {y: 3, z: 4}\nd: [5]\n"

    merged = await told(tmp_path, "yaml-processor", operation="merge", input=YAML, other=other)

    assert merged == json.loads(oracle("yq", "-s", ".[0] * .[1]", given=f"{YAML}---\n{other}"))


XML = '<r xmlns:p="urn:p" a="1"><i n="1">ä</i><i n="2">y<k/></i><p:j/></r>'


async def test_xml_is_counted_and_made_json_as_xmllint_finds_it(tmp_path: Path) -> None:
    parsed = await told(tmp_path, "xml-processor", input=XML)
    value = await told(tmp_path, "xml-processor", operation="transform_json", input=XML)

    def xpath(path: str) -> str:
        return oracle("xmllint", "--xpath", path, "-", given=XML).strip()

    assert parsed["root"] == xpath("name(/*)")
    assert [parsed["elements"], parsed["attributes"]] == [int(xpath("count(//*)")), int(xpath("count(//@*)"))]
    assert value["r"]["@a"] == xpath("string(/r/@a)")
    assert [each["@n"] for each in value["r"]["i"]] == [xpath(f"string(/r/i[{at}]/@n)") for at in (1, 2)]
    assert value["r"]["i"][0]["#text"] == xpath("string(/r/i[1])")


TABLE = "name,age,city\nAda,36,London\nBob,41,Paris\nEve,,Rome\nJo,29,Oslo\n"


def sql(folder: Path, query: str) -> list[dict[str, Any]]:
    """What the program sqlite3 finds in the table, with ages as numbers."""
    (folder / "people.csv").write_text(TABLE)
    commands = [".mode csv", ".import people.csv raw", ".mode json"]
    commands += ["create table people as select name, cast(nullif(age, '') as integer) as age, city from raw;", query]
    return list(json.loads(shell("sqlite3 :memory:", "\n".join(commands), folder) or "[]"))


async def test_a_table_is_measured_as_sqlite_measures_it(tmp_path: Path) -> None:
    result = await told(tmp_path, "csv_analyzer", input=TABLE)

    [expected] = sql(
        tmp_path, "select count(*) n, count(age) k, min(age) low, max(age) high, avg(age) mean from people;"
    )
    [age] = [each for each in result["columns"] if each["name"] == "age"]
    assert (result["row_count"], result["row_count"] - age["null_count"]) == (expected["n"], expected["k"])
    assert [float(age["min_value"]), float(age["max_value"])] == [expected["low"], expected["high"]]
    assert math.isclose(age["mean"], expected["mean"])


async def test_a_table_is_converted_filtered_and_changed_as_by_sqlite(tmp_path: Path) -> None:
    as_json = await called(tmp_path, "csv_analyzer", operation="convert", input=TABLE, options={"format": "json"})
    older = await called(tmp_path, "csv_analyzer", operation="filter", input=TABLE, options={"filter": "age > 30"})
    options = {"add_columns": {"months": "age * 12"}, "rename_columns": {"city": "town"}}
    changed = await called(tmp_path, "csv_analyzer", operation="transform", input=TABLE, options=options)

    def as_csv(result: ToolResult) -> list[str]:
        return str(result.text).splitlines()

    assert json.loads(str(as_json.text)) == sql(tmp_path, "select * from people;")
    assert as_csv(older)[1:] == [
        f"{row['name']},{row['age']},{row['city']}" for row in sql(tmp_path, "select * from people where age > 30;")
    ]
    assert as_csv(changed) == [
        "name,age,town,months",
        *(
            f"{row['name']},{row['age'] or ''},{row['town']},{row['months'] or ''}"
            for row in sql(tmp_path, "select name, age, city as town, age * 12 as months from people;")
        ),
    ]


async def test_cells_are_found_wrong_where_sqlite_finds_them_and_a_sample_is_what_head_takes(tmp_path: Path) -> None:
    options = {"rules": {"age": "range:30-40"}}
    verdict = await told(tmp_path, "csv_analyzer", operation="validate", input=TABLE, options=options)
    sample = await called(tmp_path, "csv_analyzer", operation="sample", input=TABLE, options={"size": 2})

    wrong = sql(tmp_path, "select rowid as row, age from people where age not between 30 and 40;")
    assert [(each["row"], int(each["value"])) for each in verdict["errors"] if each["value"]] == [
        (row["row"], row["age"]) for row in wrong
    ]
    assert str(sample.text).splitlines() == shell("head -n 3", TABLE).splitlines()


@pytest.mark.parametrize(
    "pattern", [r"(\d+)-(\d+)", "a{2,3}", "(", "[a", "a**", r"(?<n>x)\k<n>", "*a", "(?i:x)", r"\d{3}"]
)
async def test_a_pattern_is_sound_where_perl_can_read_it(tmp_path: Path, pattern: str) -> None:
    verdict = await told(tmp_path, "regex-matcher", operation="validate", pattern=pattern)

    sound = oracle("perl", "-e", "print eval { qr/$ARGV[0]/; 1 } ? 1 : 0", pattern) == "1"
    if pattern == r"(?<n>x)\k<n>":  # Perl writes names so, and Python writes (?P<n>x)
        assert (verdict["valid"], sound) == (False, True)
    else:
        assert verdict["valid"] is sound


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("generate", {"version": "v1"}),
        ("generate", {"version": "v4"}),
        ("generate", {"version": "v5", "namespace": "dns", "name": "example.com"}),
        ("deterministic", {"namespace": "url", "name": "https://example.com/"}),
        ("component_id", {}),
    ],
)
async def test_a_uuid_is_one_to_uuidparse(tmp_path: Path, operation: str, given: Any) -> None:
    result = await told(
        tmp_path, "uuid_generator", operation=operation, **({"prefix": "x"} if operation == "component_id" else given)
    )
    made = str(result.get("uuid") or result["id"]).removeprefix("x_")
    verdict = await told(tmp_path, "uuid_generator", operation="validate", uuid=made)

    _, variant, kind = oracle("uuidparse", "-n", "-o", "UUID,VARIANT,TYPE", made).split()[:3]
    kinds = {"v1": "time-based", "v4": "random", "v5": "sha1-based"}
    assert (variant, kind) == ("DCE", kinds[given.get("version", "v5" if operation == "deterministic" else "v4")])
    assert verdict["valid"] is True


async def test_what_uuidparse_takes_for_none_is_none(tmp_path: Path) -> None:
    for text in ("no uuid", "f47ac10b-58cc-4372-a567-0e02b2c3d47z", "f47ac10b58cc"):
        verdict = await told(tmp_path, "uuid_generator", operation="validate", uuid=text)

        assert verdict["valid"] is False
        assert "invalid" in oracle("uuidparse", "-n", "-o", "VARIANT", text)


async def test_times_are_as_far_apart_and_now_is_when_date_says(tmp_path: Path) -> None:
    start, end = "2024-02-28T22:30:00+01:00", "2024-03-31T04:00:00Z"

    def date(*arguments: str) -> str:
        return oracle("env", "TZ=Asia/Tokyo", "date", *arguments).strip()

    result = await told(tmp_path, "date_time_handler", operation="difference", start=start, end=end)
    before = date("+%Y%m%d %H%M%S %z")
    now = await told(tmp_path, "date_time_handler", operation="now", timezone="Asia/Tokyo", format="%Y%m%d %H%M%S %z")
    after = date("+%Y%m%d %H%M%S %z")

    assert result["difference"]["total_seconds"] == int(date("-d", end, "+%s")) - int(date("-d", start, "+%s"))
    assert before <= now["datetime"] <= after


async def test_every_format_that_is_listed_is_the_moment_that_date_reads(tmp_path: Path) -> None:
    listed = (await told(tmp_path, "date_time_handler", operation="formats"))["example_formats"]

    moments = {
        int(oracle("date", "-u", "-d", text, "+%Y%m%d")) for name, text in listed.items() if not name.startswith("%d.")
    }
    assert moments == {20260314}


async def test_what_tool_state_keeps_is_what_sqlite_finds_in_the_file(tmp_path: Path) -> None:
    storage = {"storage": {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "state.db")}}}

    async def ask(**given: Any) -> Any:
        async with opened(settings=storage) as host:
            return (await host.call("tool:tool-state", {"tool": "mine", **given})).result

    def found(query: str) -> list[str]:
        return oracle("sqlite3", tmp_path / "state.db", query).splitlines()

    await ask(operation="set", key="a", value={"b": [1, "x"]})
    await ask(operation="cache", key="c", value=2)
    assert found("select hex(value) from entries where key like 'state:tool:mine%a'") == [
        "81A1629201A178"
    ]  # MessagePack
    assert found("select count(*) from entries where key like '%cache/c'") == ["1"]
    assert (await ask(operation="cache", key="c"))["value"] == 2
    assert (await ask(operation="get", key="a"))["value"] == {"b": [1, "x"]}
    assert (await ask(operation="list"))["keys"] == ["a"]
    keys = found("select count(*) from entries where key like 'state:tool:mine%'")
    stats = await ask(operation="stats")
    assert [str(stats["keys"] + stats["cached"])] == keys == ["2"]

    await ask(operation="delete", key="a")
    assert found("select count(*) from entries where key like 'state:tool:mine%a'") == ["0"]
