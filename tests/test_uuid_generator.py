"""uuid_generator: held against uuidgen and the vectors of RFC 9562."""

from __future__ import annotations

import uuid

import pytest

from llmspell_hookspecs import InvalidInputError
from llmspell_plugins.tools.utility import uuid_generator
from llmspell_plugins.tools.utility.uuid_generator import UuidGenerator
from tool_caller import call
from tool_host import oracle


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v4", 4), ("v7", 7)])
def test_a_uuid_has_its_version_and_is_another_one_each_time(version: str, number: int) -> None:
    made = [uuid.UUID(call(UuidGenerator, version=version).result["uuid"]) for _ in range(20)]

    assert {each.version for each in made} == {number}
    assert {each.variant for each in made} == {uuid.RFC_4122}
    assert len(set(made)) == 20


def test_version_1_tells_no_address_of_this_machine() -> None:
    made = uuid.UUID(call(UuidGenerator, version="v1").result["uuid"])

    assert made.node != uuid.getnode()
    assert made.node >> 40 & 1


def test_version_7_holds_the_time_where_the_rfc_has_it() -> None:
    vector = uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")  # RFC 9562, A.6

    before = int(oracle("date", "+%s%3N"))
    made = uuid.UUID(call(UuidGenerator, version="v7").result["uuid"])
    after = int(oracle("date", "+%s%3N"))

    assert before <= made.int >> 80 <= after
    of_vector = uuid_generator._by_time(0x017F22E279B0)
    assert (of_vector.int >> 80, of_vector.version) == (vector.int >> 80, vector.version)


@pytest.mark.parametrize("space", ["dns", "url", "oid", "x500"])
def test_a_name_gives_what_uuidgen_gives(space: str) -> None:
    expected = oracle("uuidgen", "--sha1", "--namespace", f"@{space}", "--name", "www.example.com").decode().strip()

    made = call(UuidGenerator, version="v5", namespace=space, name="www.example.com").result
    again = call(UuidGenerator, operation="deterministic", namespace=space, name="www.example.com").result

    assert made == {"uuid": expected, "version": "v5", "format": "standard"}
    assert again == {"id": expected, "namespace": space, "name": "www.example.com"}


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("simple", "2ed6657de927568b95e12665a8aea6a2"),
        ("urn", "urn:uuid:2ed6657d-e927-568b-95e1-2665a8aea6a2"),
        ("braced", "{2ed6657d-e927-568b-95e1-2665a8aea6a2}"),
        ("hyphenated", "2ed6657d-e927-568b-95e1-2665a8aea6a2"),
    ],
)
def test_a_uuid_is_written_in_each_form_and_read_again(form: str, shape: str) -> None:
    made = call(UuidGenerator, version="v5", namespace="dns", name="www.example.com", format=form).result["uuid"]
    read = call(UuidGenerator, operation="validate", uuid=made).result

    assert made == shape  # RFC 9562, A.4
    plain = "2ed6657d-e927-568b-95e1-2665a8aea6a2"
    assert read == {"valid": True, "uuid": plain, "version": "v5", "variant": "rfc4122"}


def test_an_id_of_a_component_has_its_prefix() -> None:
    long = call(UuidGenerator, operation="component_id", prefix="agent").result
    short = call(UuidGenerator, operation="component_id", prefix="agent", short=True).result

    assert uuid.UUID(long["id"].removeprefix("agent_")).version == 4
    assert len(short["id"]) == len("agent_") + 8
    assert (short["prefix"], short["short"]) == ("agent", True)


def test_an_id_of_ones_own_has_its_parts() -> None:
    made = call(UuidGenerator, operation="custom", prefix="a", suffix="z", timestamp=True, short=True).result["id"]

    first, when, drawn, last = made.split("_")
    assert (first, last, len(drawn)) == ("a", "z", 8)
    assert abs(int(when) - int(oracle("date", "+%s"))) < 60


@pytest.mark.parametrize(
    "text",
    ["", "x", "2ed6657d-e927-568b-95e1-2665a8aea6a", "{2ed6657d-e927-568b-95e1-2665a8aea6a2", "\uff12" * 32],
)
def test_what_is_no_uuid_is_told_so(text: str) -> None:
    result = call(UuidGenerator, operation="validate", uuid=text).result

    assert result["valid"] is False
    assert "32 hex digits" in result["error"]


def test_what_is_missing_or_too_long_is_refused() -> None:
    for wrong in (
        {"version": "v5", "name": "x"},
        {"operation": "component_id"},
        {"operation": "deterministic"},
        {"version": "v5", "namespace": "nothing", "name": "x"},
        {"version": "v5", "namespace": "dns", "name": "\ud800"},
        {"operation": "component_id", "prefix": "x" * 201},
    ):
        with pytest.raises(InvalidInputError):
            call(UuidGenerator, **wrong)
