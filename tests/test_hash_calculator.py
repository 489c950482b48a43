"""hash_calculator: held against openssl, coreutils and b3sum."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.utility.hash_calculator import HashCalculator
from tool_caller import call
from tool_host import ask, oracle

TEXT = "grüße\n"


@pytest.mark.parametrize("name", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-512"])
def test_a_text_has_the_hash_that_openssl_tells(name: str) -> None:
    result = call(HashCalculator, operation="hash", input=TEXT, algorithm=name).result

    expected = oracle("openssl", "dgst", "-r", f"-{name}", given=TEXT).split()[0].decode()
    assert result == {"algorithm": name.replace("-", "_"), "hash": expected, "format": "hex"}


@pytest.mark.parametrize(
    ("name", "program"), [("blake3", ["b3sum"]), ("BLAKE2b", ["b2sum"]), ("SHA-256", ["sha256sum"])]
)
async def test_a_file_has_the_hash_that_its_program_tells(tmp_path: Path, name: str, program: list[str]) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3_000_001))

    result = (await ask(HashCalculator, tmp_path, operation="hash", file=f"{tmp_path}/a", algorithm=name)).result

    assert result["hash"] == oracle(*program, str(tmp_path / "a")).split()[0].decode()


def test_a_hash_is_written_as_base64() -> None:
    result = call(HashCalculator, operation="hash", input=TEXT, format="base64").result

    digest = oracle("openssl", "dgst", "-sha256", "-binary", given=TEXT)
    assert result["hash"] == oracle("base64", given=digest).decode().strip()


def test_a_hash_is_verified_in_either_writing() -> None:
    made = call(HashCalculator, operation="hash", input=TEXT, format="base64").result["hash"]
    right = call(HashCalculator, operation="verify", input=TEXT, expected_hash=made, expected_format="base64").result
    upper = oracle("sha256sum", given=TEXT).split()[0].decode().upper()

    assert right == {"verified": True, "algorithm": "sha256", "expected": made, "actual": made}
    assert call(HashCalculator, operation="verify", input=TEXT, expected_hash=upper).result["verified"]
    wrong = call(HashCalculator, operation="verify", input=TEXT + "!", expected_hash=upper).result
    assert not wrong["verified"]
    assert wrong["actual"] == oracle("sha256sum", given=TEXT + "!").split()[0].decode()


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="not hex"):
        call(HashCalculator, operation="verify", input="x", expected_hash="zz")
    with pytest.raises(InvalidInputError, match="expected_hash"):
        call(HashCalculator, operation="verify", input="x")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        call(HashCalculator, operation="hash", input="\ud800")


async def test_pipes_links_and_files_outside_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(ToolError, match="not a regular file"):
        await ask(HashCalculator, tmp_path, operation="hash", file=f"{tmp_path}/pipe")
    with pytest.raises(SecurityError):
        await ask(HashCalculator, tmp_path, operation="hash", file=f"{tmp_path}/link")
    with pytest.raises(ToolError, match="is a directory"):
        await ask(HashCalculator, tmp_path, operation="hash", file=str(tmp_path))


async def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)

    with pytest.raises(ResourceLimitError, match="above the limit of 10"):
        await ask(HashCalculator, tmp_path, {"max_file_size_bytes": 10}, operation="hash", file=f"{tmp_path}/a")
