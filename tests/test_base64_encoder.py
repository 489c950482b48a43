"""base64_encoder: held against openssl and coreutils."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.utility.base64_encoder import Base64Encoder
from tool_caller import call
from tool_host import ask, oracle


def test_a_text_is_encoded_as_openssl_does() -> None:
    text = "grüße, 世界?>\n" * 5

    result = call(Base64Encoder, operation="encode", input=text).result

    expected = oracle("openssl", "base64", "-A", given=text).decode()
    assert result == {"output": expected, "variant": "standard", "binary": False}


def test_what_coreutils_wrapped_is_decoded() -> None:
    text = "a line that is long enough to be wrapped by the program, " * 4

    result = call(Base64Encoder, operation="decode", input=oracle("base64", given=text).decode()).result

    assert result == {"output": text, "variant": "standard", "binary": False}


def test_bytes_come_and_go_as_hex_digits() -> None:
    encoded = call(Base64Encoder, operation="encode", input="00ff fe", binary_input=True).result["output"]
    decoded = call(Base64Encoder, operation="decode", input=encoded).result

    assert encoded == oracle("base64", given=b"\x00\xff\xfe").decode().strip()
    assert decoded == {"output": "00fffe", "variant": "standard", "binary": True}


def test_url_safe_text_is_that_of_basenc() -> None:
    result = call(Base64Encoder, operation="encode", input="ûûû>>>???", variant="url_safe").result

    assert result["output"] == oracle("basenc", "--base64url", "-w0", given="ûûû>>>???").decode()


@given(st.binary(max_size=100), st.sampled_from(["standard", "url-safe"]))
def test_what_is_encoded_is_decoded(data: bytes, variant: str) -> None:
    encoded = call(Base64Encoder, operation="encode", input=data.hex(), binary_input=True, variant=variant).result
    bare = encoded["output"].rstrip("=") if variant == "url-safe" else encoded["output"]
    decoded = call(Base64Encoder, operation="decode", input=bare, variant=variant).result

    assert (bytes.fromhex(decoded["output"]) if decoded["binary"] else decoded["output"].encode()) == data


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("SGVsbG8", "standard"),
        ("SGVsbG9=", "standard"),
        ("SGVs!bG8=", "standard"),
        ("SGVsbG8==", "standard"),
        ("SGVs bG8=", "standard"),
        ("=", "standard"),
        ("S", "url-safe"),
        ("+/+/", "url-safe"),
        ("-_-_", "standard"),
        ("é", "standard"),
        ("\ud800", "standard"),
    ],
)
def test_what_is_no_base64_is_refused(text: str, variant: str) -> None:
    with pytest.raises(InvalidInputError, match="input"):
        call(Base64Encoder, operation="decode", input=text, variant=variant)


async def test_a_file_is_encoded_into_a_file_and_back(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    (tmp_path / "a.bin").write_bytes(data)

    encoded = await ask(
        Base64Encoder, tmp_path, operation="encode", input_file=f"{tmp_path}/a.bin", output_file=f"{tmp_path}/a.b64"
    )
    await ask(
        Base64Encoder, tmp_path, operation="decode", input_file=f"{tmp_path}/a.b64", output_file=f"{tmp_path}/b.bin"
    )

    assert encoded.result["size"] == len(base64.b64encode(data))
    assert oracle("base64", "-d", str(tmp_path / "a.b64")) == data
    assert (tmp_path / "b.bin").read_bytes() == data


async def test_files_outside_and_missing_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(SecurityError):
        await ask(Base64Encoder, tmp_path, operation="encode", input_file="/etc/passwd")
    with pytest.raises(SecurityError):
        await ask(Base64Encoder, tmp_path, operation="encode", input_file=f"{tmp_path}/link")
    with pytest.raises(SecurityError):
        await ask(Base64Encoder, tmp_path, operation="encode", input="x", output_file=f"{tmp_path}/../out")
    with pytest.raises(ToolError, match="no such file"):
        await ask(Base64Encoder, tmp_path, operation="encode", input_file=f"{tmp_path}/none")


async def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 101)

    with pytest.raises(ResourceLimitError, match="101 bytes are above the limit of 100"):
        limit = {"max_file_size_bytes": 100}
        await ask(Base64Encoder, tmp_path, limit, operation="encode", input_file=f"{tmp_path}/a.bin")
