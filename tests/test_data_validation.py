"""data_validation: held against jsonschema, by the schema that says the same as the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import opened
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import OperationTimeoutError
from llmspell_plugins.tools.utility.data_validation import DataValidation
from tool_caller import call
from tool_host import settings_of


def told(value: Any, *rules: dict[str, Any]) -> Any:
    return call(DataValidation, input=value, rules={"rules": list(rules)}).result


def schema_of(rule: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema that says what the rule says; where a rule minds null, the schema is told."""
    match rule["type"]:
        case "type":
            return {"type": rule["expected"]}
        case "range":
            return {"type": ["number", "null"], "minimum": rule.get("min", -1e9), "maximum": rule.get("max", 1e9)}
        case "enum":
            return {"anyOf": [{"enum": rule["values"]}, {"type": "null"}]}
        case "pattern":
            return {"type": ["string", "null"], "pattern": rule["regex"]}
        case "length":
            least, most = rule.get("min", 0), rule.get("max", 10**6)
            lengths = {"minLength": least, "maxLength": most, "minItems": least, "maxItems": most}
            fields = {"minProperties": least, "maxProperties": most}
            return {"type": ["string", "array", "object", "null"], **lengths, **fields}
        case "array":
            items = {"allOf": [schema_of(each) for each in rule.get("item_rules", ())]}
            sizes = {"minItems": rule.get("min_items", 0), "maxItems": rule.get("max_items", 10**6)}
            return {"type": ["array", "null"], "items": items, "uniqueItems": rule.get("unique", False), **sizes}
    raise AssertionError(rule)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["", "a", "ab", "é1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)
SIZES = st.fixed_dictionaries({}, optional={"min": st.integers(0, 2), "max": st.integers(0, 3)})
SIMPLE = st.one_of(
    st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"]).map(
        lambda kind: {"type": "type", "expected": kind}
    ),
    SIZES.map(lambda sizes: {"type": "range", **sizes}),
    SIZES.map(lambda sizes: {"type": "length", **sizes}),
    st.lists(VALUES.filter(lambda value: value is not None), max_size=3).map(
        lambda values: {"type": "enum", "values": values}
    ),
    st.sampled_from(["^a", "b$", r"\d"]).map(lambda regex: {"type": "pattern", "regex": regex}),
)
RULES = SIMPLE | st.builds(
    lambda rules, unique, least: {"type": "array", "item_rules": rules, "unique": unique, "min_items": least},
    st.lists(SIMPLE, max_size=2),
    st.booleans(),
    st.integers(0, 2),
)


@given(VALUES, RULES)
def test_a_value_is_valid_where_jsonschema_says_so(value: Any, rule: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(rule))

    assert told(value, rule)["valid"] == validator.is_valid(value)


SHORT = {"type": "length", "min": 2}


def test_every_place_that_is_wrong_is_told() -> None:
    person = {"name": "", "age": True, "tags": ["a", "a"], "mail": "x@", "extra": 1}
    rules = {
        "type": "object",
        "properties": {
            "name": [{"type": "required"}],
            "age": [{"type": "range", "min": 0}],
            "tags": [
                {"type": "array", "unique": True, "item_rules": [{"type": "length", "min": 2, "message": "short"}]}
            ],
            "mail": [{"type": "email"}],
            "gone": [{"type": "length", "min": 3}],
        },
        "required": ["id"],
        "additional_properties": False,
    }

    result = told(person, rules)

    assert result["valid"] is False
    assert [(each["field"], each["rule"]) for each in result["errors"]] == [
        ("id", "required"),
        ("extra", "object"),
        ("name", "required"),
        ("age", "range"),
        ("tags", "array"),
        ("tags[0]", "length"),
        ("tags[1]", "length"),
        ("mail", "email"),
    ]
    assert result["errors"][5]["message"] == "short"


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ({"type": "required"}, [0, False, []], [None, ""]),
        (
            {"type": "email"},
            ["a@b.co", "first.last+tag@sub.example.org"],
            ["a@b", "a@@b.co", ".a@b.co", "a..b@c.de", "a b@c.de", "@b.co", "a@-b.co", "x" * 65 + "@b.co", 1],
        ),
        (
            {"type": "url"},
            ["http://a.b/c?d#e", "https://[::1]:8080/", "ftp://x"],
            ["a.b", "http://", "javascript:alert(1)", "http://a b", "http://a:99999/", "http://a..b/", 7],
        ),
        ({"type": "date"}, ["2024-02-29"], ["2023-02-29", "29.02.2024", "", 20240229]),
        ({"type": "date", "format": "%d.%m.%Y"}, ["29.02.2024"], ["2024-02-29"]),
        (
            {"type": "custom", "name": "credit_card"},
            [
                "4111 1111 1111 1111",
                "5500-0000-0000-0004",
                "340000000000009",
            ],  # given by the networks for tests
            ["4111111111111112", "1", "4111x", 4111111111111111],
        ),
        ({"type": "custom", "name": "uuid"}, ["2ed6657d-e927-568b-95e1-2665a8aea6a2"], ["2ed6657d", "x" * 36]),
        ({"type": "custom", "name": "phone"}, ["+1 (555) 010-9999", "020 7946 0018"], ["12", "call me", "+" * 12]),
    ],
)
def test_what_has_a_form_is_known(rule: dict[str, Any], right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not told(value, rule)["valid"]] == []
    assert [value for value in wrong if told(value, rule)["valid"]] == []


def test_the_envelope_names_the_operation_of_the_reference() -> None:
    result = call(DataValidation, input=1, rules=[{"type": "type", "expected": "integer"}])

    assert (result.operation, result.result) == ("validate_data", {"valid": True, "errors": []})


async def test_a_catastrophic_pattern_ends_at_the_deadline(tmp_path: Path) -> None:
    async with opened(DataValidation, settings=settings_of(tmp_path)) as host:
        with pytest.raises(OperationTimeoutError):
            given = {"input": "a" * 5000 + "b", "rules": [{"type": "pattern", "regex": "(a|a)*$"}]}
            await host.call("tool:data_validation", given, deadline_s=0.5)


@pytest.mark.parametrize(
    "rules", [[{"type": "nothing"}], [{"type": "pattern", "regex": "("}], [{}], "x", [{"type": "length", "min": -1}]]
)
def test_what_is_no_rule_is_refused(rules: Any) -> None:
    with pytest.raises(InvalidInputError):
        call(DataValidation, input="x", rules=rules)


def test_what_is_wrong_in_more_places_than_anybody_reads_is_cut() -> None:
    rule = {"type": "array", "item_rules": [{"type": "type", "expected": "string"}]}

    result = told([1] * 5000, rule)

    assert (len(result["errors"]), result["truncated"]) == (1000, True)
