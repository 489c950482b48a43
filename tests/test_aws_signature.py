"""Signatures of requests to AWS, held against the published test suite (version 4) and against botocore's signer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_plugins.tools.api.aws_signature import Credentials, Scope, signed_headers
from mail_services import by_botocore

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuw"
    "thAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVX"
    "AkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
SCOPE = Scope("us-east-1", "service", datetime(2015, 8, 30, 12, 36, tzinfo=UTC))
FORM = "application/x-www-form-urlencoded"

SUITE: list[tuple[str, str, str, dict[str, str], str, str]] = [
    ("get-vanilla", "GET", "/", {}, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-utf8-query",
        "GET",
        "/?%E1%88%B4=bar",
        {},
        "",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        {"My-Header1": "value2,value2,value1"},
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    ("post-vanilla", "POST", "/", {}, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "post-vanilla-query",
        "POST",
        "/?Param1=value1",
        {},
        "",
        "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
    (
        "post-header-key-sort",
        "POST",
        "/",
        {"My-Header1": "value1"},
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        {"Content-Type": FORM},
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        {"Content-Type": f"{FORM}; charset=utf8"},
        "Param1=value1",
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "signature"), [each[1:] for each in SUITE], ids=[each[0] for each in SUITE]
)
def test_a_request_of_the_published_suite_is_signed_as_published(
    method: str, path: str, headers: Mapping[str, str], body: str, signature: str
) -> None:
    sent = signed_headers(method, f"https://example.amazonaws.com{path}", headers, body.encode(), KEYS, SCOPE)

    names = ";".join(sorted({"host", "x-amz-date", *(name.lower() for name in headers)}))
    credential = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    assert sent["Authorization"] == f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    assert sent["X-Amz-Date"] == "20150830T123600Z"


def test_a_token_is_signed_as_published() -> None:
    keys = Credentials(KEYS.key_id, KEYS.secret, TOKEN)

    sent = signed_headers("POST", "https://example.amazonaws.com/", {}, b"", keys, SCOPE)

    assert sent["X-Amz-Security-Token"] == TOKEN
    assert sent["Authorization"].endswith("=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead")


_SEGMENT = st.text("abcXYZ019-._~ %+=äß€", max_size=8)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    host=st.sampled_from(["email.eu-central-1.amazonaws.com", "localhost:8080", "Example.com:443"]),
    path=st.lists(_SEGMENT.filter(lambda part: part not in (".", "..", "")), max_size=3),
    query=st.dictionaries(_SEGMENT.filter(bool), _SEGMENT, max_size=3),
    body=st.binary(max_size=50),
    token=st.sampled_from(["", "a/token+="]),
)
def test_any_request_is_signed_as_botocore_signs_it(
    method: str, host: str, path: list[str], query: dict[str, str], body: bytes, token: str
) -> None:
    pytest.importorskip("botocore", reason="botocore comes with the extra test")
    url = f"https://{host}/" + "/".join(quote(part, safe="") for part in path)
    url += f"?{urlencode(query, quote_via=quote)}" if query else ""
    keys = Credentials("AKIDEXAMPLE", "secret/key+x", token)

    ours = signed_headers(method, url, {"Content-Type": "application/json"}, body, keys, SCOPE)

    names = {"Content-Type": "application/json"}
    assert ours["Authorization"] == by_botocore(method, url, names, body, keys, SCOPE, ours["X-Amz-Date"])
