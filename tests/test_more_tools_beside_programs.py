"""Tools whose operations reach servers, scripts and bibliographies, beside curl, node, munpack, pandoc and others."""

from __future__ import annotations

import json
import os
import re
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel import opened
from loopback import LOOPBACK, serve
from oracles import called, oracle

CSL = Path("/usr/share/citation-style-language/styles")
CSL_FILES = {"apa": "apa", "mla": "modern-language-association", "chicago": "chicago-author-date", "ieee": "ieee"}
MAIL: dict[str, Any] = {
    "from": "Ada <ada@example.com>",
    "to": "bob@example.com",
    "subject": "Lunch",
    "body": "At noon?",
}


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """Where a server is that tells what it was asked."""

    def answer(handler: Any, count: int) -> None:
        seen = handler.server.seen[-1]
        told = {"method": seen.method, "path": seen.path, "body": seen.body.decode(), "x": seen.headers.get("x-a")}
        handler.reply(json.dumps(told).encode(), 404 if "missing" in seen.path else 200, "application/json", X_Own="1")

    with serve(answer) as server:
        yield str(server.url)


def curled(url: str, *options: str) -> tuple[int, Any, str]:
    """Status, body and a header of the server's own, as curl is answered."""
    told = oracle("curl", "-sg", "-w", "\n%{http_code} %header{x-own}", *options, url)
    body, _, last = told.rpartition("\n")
    status, own = last.split()
    return int(status), json.loads(body), own


@pytest.mark.parametrize("path", ["/a?b=c%20d", "/missing"])
@pytest.mark.parametrize("tool", ["http_request", "api-tester"])
async def test_a_server_answers_a_request_as_it_answers_curl(tmp_path: Path, echo: str, tool: str, path: str) -> None:
    given = {"method": "PUT", "headers": {"X-A": "b"}, "body": {"n": [1]}}

    result = (await called(tmp_path, tool, LOOPBACK, input=echo + path, **given)).result

    answer = result.get("response", result)
    told = curled(echo + path, "-X", "PUT", "-H", "X-A: b", "-H", "Content-Type: application/json", "-d", '{"n":[1]}')
    assert (answer["status_code"], answer["body"], answer["headers"]["x-own"]) == told


LUA = (
    "string.rep('ü', 3) .. ('%5.2f'):format(math.pi)",
    "table.concat({string.match('key = value', '(%w+)%s*=%s*(%w+)')}, '|')",
    "select('#', table.unpack({1, nil, 3}, 1, 3)) + 7 // 2 + 2 ^ 10 + 17 % 5",
    "(function() local t = {3, 1, 2} table.sort(t) return table.concat(t, ',') end)()",
)


@pytest.mark.parametrize("source", LUA)
async def test_a_script_gives_what_the_program_lua_gives(tmp_path: Path, source: str) -> None:
    result = (await called(tmp_path, "script-runner", language="lua", source=f"return tostring({source})")).result

    assert result["value"] == oracle("lua5.4", "-e", f"io.write(tostring({source}))")


async def test_a_mail_that_is_shown_is_what_munpack_takes_apart(tmp_path: Path) -> None:
    attachments = [{"name": "list.csv", "text": "a,b\n1,2\n"}, {"name": "raw.bin", "base64": "AAEC/w=="}]

    result = (await called(tmp_path, "email-sender", operation="preview", attachments=attachments, **MAIL)).result

    (out := tmp_path / "out").mkdir()
    oracle("munpack", "-t", "-f", "-C", out, given=result["message"].replace("\r\n", "\n"))
    assert {file.name: file.read_bytes() for file in out.iterdir() if "." in file.name} == {
        "list.csv": b"a,b\n1,2\n",
        "raw.bin": b"\x00\x01\x02\xff",
    }


ADDRESSES = [
    "bob@example.com",
    "b.o-b+x@mail.example.com",
    "bob",
    "@example.com",
    "bob@",
    "<>",
    "a@b@c",
]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_an_address_is_sound_where_a_mail_server_takes_it(tmp_path: Path, address: str) -> None:
    controllers = pytest.importorskip("aiosmtpd.controller", reason="aiosmtpd comes with the extra test")
    handlers = pytest.importorskip("aiosmtpd.handlers")

    verdict = (await called(tmp_path, "email-sender", operation="validate", **{**MAIL, "to": address})).result

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = controllers.Controller(handlers.Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        with smtplib.SMTP("127.0.0.1", port) as talk:
            talk.ehlo()
            talk.docmd("MAIL", "FROM:<ada@example.com>")
            code, _ = talk.docmd("RCPT", f"TO:<{address}>")
    finally:
        controller.stop()
    lenient = {"bob", "bob@"}  # it takes a mailbox without a host, which RFC 5321 allows for the postmaster only
    assert (verdict["valid"], address) == (code == 250 and address not in lenient, address)


async def test_the_styles_that_are_listed_are_styles_of_the_csl_project(tmp_path: Path) -> None:
    if not CSL.exists():
        pytest.skip("there are no styles; apt-get install citation-style-language-styles")

    listed = (await called(tmp_path, "citation-formatter", operation="list_styles")).result["styles"]

    assert {each["name"] for each in listed} == set(CSL_FILES)
    for each in listed:
        title = oracle(
            "xmllint", "--xpath", "string(//*[local-name()='title'])", CSL / f"{CSL_FILES[each['name']]}.csl"
        )
        plain = re.sub(r"[^\w ]", "", each["title"])
        initials = "".join(word[0] for word in plain.split() if word[0].isupper())
        assert re.sub(r"[^\w ]", "", title.strip()) in (plain, initials)


BOOKS = {
    "978-3-16-148410-0": True,
    "978-3-16-148410-1": False,
    "0-306-40615-2": True,
    "0-306-40615-3": False,
    "080442957X": True,
}
CHECK = (
    "my @d = split //, uc($ARGV[0] =~ s/-//gr); my $s = 0; if (@d == 10) { $s += (10 - $_) * ($d[$_] eq 'X' ? 10 :"
    " $d[$_]) for 0..9; print $s % 11 == 0 ? 1 : 0 } else { $s += ($_ % 2 ? 3 : 1) * $d[$_] for 0..12; print $s % 10"
    " == 0 ? 1 : 0 }"
)


async def test_a_bibliography_has_the_entries_that_pandoc_reads_and_numbers_that_perl_finds_right(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pybtex", reason="pybtex comes with the extra citations")
    for number, right in BOOKS.items():
        text = f"@book{{k, title = {{T}}, author = {{Roe, A.}}, publisher = {{P}}, year = 2001, isbn = {{{number}}}}}\n"
        text += "@misc{m, title = {Other}, author = {Poe, B.}, year = 2002}\n"

        verdict = await called(tmp_path, "citation-formatter", operation="validate_bibliography", input=text)

        read = json.loads(oracle("pandoc", "-f", "bibtex", "-t", "csljson", given=text))
        assert verdict.result["entry_count"] == len(read) == 2
        assert verdict.result["valid"] is (oracle("perl", "-e", CHECK, number) == "1") is right


HANDLEBARS = [
    "{{#if a}}b{{/if}}",
    "{{#if a}}b",
    "{{a",
    "{{#each a}}{{this}}{{/if}}",
    "{{a.b.[c d]}}",
    "{{{a}}}",
    "{{#if}}{{/if}}",
]


@pytest.mark.parametrize("template", HANDLEBARS)
async def test_a_template_is_sound_where_handlebars_js_compiles_it(tmp_path: Path, template: str) -> None:
    pytest.importorskip("jinja2", reason="jinja2 comes with the extra templates")
    given = {"operation": "validate", "engine": "handlebars", "input": template}

    verdict = (await called(tmp_path, "template_engine", **given)).result

    program = "try { require('handlebars').compile(process.argv[1])({a: 1}); console.log('yes') }"
    program += " catch (e) { console.log(e.code === 'MODULE_NOT_FOUND' ? 'none' : 'no') }"
    found = os.environ.get("NODE_PATH", "")
    read = oracle("env", f"NODE_PATH={found}:/usr/share/nodejs", "node", "-e", program, template).strip()
    if read == "none":
        pytest.skip("node has no handlebars; apt-get install node-handlebars")
    assert (verdict["valid"], template) == (read == "yes", template)


async def test_a_variable_that_is_set_is_seen_by_the_host_and_by_no_program(tmp_path: Path) -> None:
    settings = {"security": {"environment": ["TEST_*"]}, "tools": {"environment_reader": {"allow_set": True}}}
    async with opened(settings=settings) as host:
        await host.call("tool:environment_reader", {"operation": "set", "name": "TEST_SET", "value": "x"})
        result = (await host.call("tool:environment_reader", {"operation": "get", "name": "TEST_SET"})).result

    assert result["value"] == "x"
    assert not re.search("^TEST_SET=", oracle("env"), re.MULTILINE)


async def test_a_port_answers_where_curl_can_connect(tmp_path: Path, echo: str) -> None:
    place = echo.removeprefix("http://")
    for target in (place, "127.0.0.1:9"):
        told = (await called(tmp_path, "service_checker", LOOPBACK, target=target, check_type="tcp")).result

        connected = oracle(
            "curl", "-s", "-o", "/dev/null", "-w", "%{exitcode}", f"http://{target}/", codes=(0, 7)
        ).strip()
        assert told["available"] is (connected == "0")
