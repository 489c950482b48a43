"""archive_handler: held against zip, unzip, tar, 7z, gzip, bzip2, xz and shutil; and what must not come out.

It is longer than most because there are as many ways to harm with an archive as to make one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.filesystem.archive_handler import ArchiveHandler
from tool_host import ask, oracle, settings_of

FILES = {"notes.txt": b"hello\n" * 500, "deep/er/data.bin": bytes(range(256)) * 300, "deep/empty": b"", "Ünï.txt": b"u"}
TARS = {"tar": "-c", "tar.gz": "-cz", "tar.bz2": "-cj", "tar.xz": "-cJ"}
PACKERS = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "tree"


async def told(folder: Path, settings: dict[str, Any] | None = None, /, **parameters: Any) -> Any:
    return (await ask(ArchiveHandler, folder, settings, **parameters)).result


async def extracted(archive: Path, **more: Any) -> Any:
    folder = archive.parent
    return await told(folder, operation="extract", path=str(archive), target_path=f"{folder}/out", **more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tarred(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b"x" if kind == tarfile.REGTYPE else b""


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for info, content in members:
            archive.writestr(info, content, method)
    return made.getvalue()


async def test_a_zip_is_made_that_unzip_and_7z_read(tmp_path: Path, tree: Path) -> None:
    result = await told(tmp_path, operation="create", path=f"{tmp_path}/a.zip", input=[str(tree)], compression_level=9)

    oracle("unzip", "-tq", f"{tmp_path}/a.zip")
    oracle("7z", "t", f"{tmp_path}/a.zip")
    oracle("unzip", "-q", f"{tmp_path}/a.zip", "-d", f"{tmp_path}/out")
    assert contents(tmp_path / "out" / "tree") == FILES
    assert sorted(result["archived_files"]) == sorted(f"tree/{name}" for name in FILES)
    assert result["total_size"] == sum(map(len, FILES.values()))
    assert (result["archive_path"], result["compression_level"]) == (f"{tmp_path}/a.zip", 9)
    assert result["archive_size"] == (tmp_path / "a.zip").stat().st_size < result["total_size"]


@pytest.mark.parametrize("kind", TARS)
async def test_a_tar_is_made_that_tar_reads(tmp_path: Path, tree: Path, kind: str) -> None:
    (tree / "notes.txt").chmod(0o754)
    os.utime(tree / "notes.txt", (10**9, 10**9))

    result = await told(tmp_path, operation="create", path=f"{tmp_path}/a.{kind}", input=[str(tree)])

    (tmp_path / "out").mkdir()
    oracle("tar", "-xf", f"{tmp_path}/a.{kind}", "-C", f"{tmp_path}/out")
    assert contents(tmp_path / "out" / "tree") == FILES
    status = (tmp_path / "out" / "tree" / "notes.txt").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o754, 10**9)
    assert (result["format"], result["left_out"]) == (kind, [])


@pytest.mark.parametrize(("kind", "program"), PACKERS.items())
async def test_one_file_is_packed_as_its_program_unpacks_it_and_back(
    tmp_path: Path, tree: Path, kind: str, program: str
) -> None:
    path = f"{tmp_path}/data.bin.{kind}"

    await told(tmp_path, operation="create", path=path, input=[f"{tree}/deep/er/data.bin"])
    theirs = oracle(program, "-dc", path)
    Path(path).write_bytes(oracle(program, "-c", given=FILES["notes.txt"]))
    result = await extracted(Path(path))

    assert theirs == FILES["deep/er/data.bin"]
    assert contents(tmp_path / "out") == {"data.bin": FILES["notes.txt"]}
    assert (result["extracted_files"], result["total_size"]) == (["data.bin"], len(FILES["notes.txt"]))


@pytest.mark.parametrize("kind", TARS)
async def test_a_tar_of_the_program_is_unpacked(tmp_path: Path, tree: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(oracle("tar", TARS[kind], *FILES, folder=tree))

    result = await extracted(tmp_path / "a")

    assert contents(tmp_path / "out") == FILES
    assert sorted(result["extracted_files"]) == sorted(FILES)
    assert (result["total_size"], result["output_dir"]) == (sum(map(len, FILES.values())), f"{tmp_path}/out")


@pytest.mark.parametrize("method", ["store", "deflate", "bzip2"])
async def test_a_zip_of_the_program_is_unpacked(tmp_path: Path, tree: Path, method: str) -> None:
    oracle("zip", "-q", "-r", "-Z", method, f"{tmp_path}/a.zip", ".", folder=tree)

    await extracted(tmp_path / "a.zip")

    assert contents(tmp_path / "out") == FILES


async def test_a_sparse_tar_of_the_program_is_unpacked_with_its_holes(tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    (tmp_path / "a.tar").write_bytes(oracle("tar", "-cS", "holes", folder=tmp_path))

    await extracted(tmp_path / "a.tar")

    assert (tmp_path / "a.tar").stat().st_size < 100_000
    assert (tmp_path / "out" / "holes").read_bytes() == (tmp_path / "holes").read_bytes()


@pytest.mark.parametrize("kind", ["zip", "gztar"])
async def test_a_list_tells_what_unzip_and_tar_list(tmp_path: Path, tree: Path, kind: str) -> None:
    path = shutil.make_archive(f"{tmp_path}/a", kind, tree)
    command = ["unzip", "-Z1", path] if kind == "zip" else ["tar", "-tf", path]
    theirs = oracle(*command).decode("unicode_escape").encode("latin-1").decode().split()

    result = await told(tmp_path, operation="list", path=path)

    assert [each["name"].strip("./") for each in result["files"]] == [name.strip("./") for name in theirs]
    sizes = {each["name"].removeprefix("./"): each["size"] for each in result["files"] if each["type"] == "file"}
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert (result["format"], result["file_count"]) == ({"gztar": "tar.gz"}.get(kind, kind), len(theirs))


async def test_only_the_members_that_are_named_are_unpacked(tmp_path: Path, tree: Path) -> None:
    path = Path(shutil.make_archive(f"{tmp_path}/a", "zip", tree))

    result = await extracted(path, input=["notes.txt", "deep/er"])

    assert sorted(contents(tmp_path / "out")) == sorted(result["extracted_files"]) == ["deep/er/data.bin", "notes.txt"]
    with pytest.raises(InvalidInputError, match=r"none\.txt is not in the archive"):
        await extracted(path, input=["none.txt"])


async def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(("b", b"new"), ("a", b"new")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"old")

    with pytest.raises(ToolError, match="set overwrite"):
        await extracted(tmp_path / "a.zip")
    assert contents(tmp_path / "out") == {"a": b"old"}

    await extracted(tmp_path / "a.zip", overwrite=True)
    assert contents(tmp_path / "out") == {"a": b"new", "b": b"new"}


async def test_a_damaged_archive_is_told_and_writes_nothing(tmp_path: Path, tree: Path) -> None:
    zip_path = Path(shutil.make_archive(f"{tmp_path}/a", "zip", tree))
    tar_path = Path(shutil.make_archive(f"{tmp_path}/a", "tar", tree))
    gz_path = Path(shutil.make_archive(f"{tmp_path}/a", "gztar", tree))
    sound = [await told(tmp_path, operation="test", path=str(path)) for path in (zip_path, tar_path, gz_path)]

    data = bytearray(zip_path.read_bytes())
    at = data.index(b"notes.txt") + len("notes.txt") + 5
    data[at] ^= 0xFF
    zip_path.write_bytes(data)
    tar = bytearray(tar_path.read_bytes())
    tar[tar.index(b"notes.txt")] ^= 1
    tar_path.write_bytes(tar)
    gz_path.write_bytes(gz_path.read_bytes()[:-200])

    for path in (zip_path, tar_path, gz_path):
        result = await told(tmp_path, operation="test", path=str(path))
        assert not result["valid"] and "it is damaged" in result["errors"][0]["message"], (path, result)
        with pytest.raises(ToolError, match="damaged"):
            await extracted(path)
    assert [(each["valid"], each["file_count"]) for each in sound] == [(True, 4)] * 3
    assert oracle("unzip", "-tq", str(zip_path), ok=(1, 2, 3)) and not (tmp_path / "out").exists()


async def test_a_tar_with_a_wrong_header_behind_the_first_does_not_pass_for_a_shorter_one(tmp_path: Path) -> None:
    made = bytearray(tarred(member("a"), member("b"), member("c")))
    made[made.index(b"b\0\0\0")] ^= 1
    (tmp_path / "a.tar").write_bytes(made)

    result = await told(tmp_path, operation="test", path=f"{tmp_path}/a.tar")
    with pytest.raises(ToolError, match="a header is wrong"):
        await extracted(tmp_path / "a.tar")

    assert not result["valid"] and not (tmp_path / "out").exists()


HOSTILE = ["../out.txt", "a/../../out.txt", "/tmp/absolute.txt", "C:\\windows.txt", "..\\out.txt", "\\\\host\\x", "."]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
async def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name: str, kind: str) -> None:
    made = zipped(("ok.txt", b"x"), (name, b"x")) if kind == "zip" else tarred(member("ok.txt"), member(name))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(made)

    listed = await told(tmp_path / "in", operation="list", path=f"{tmp_path}/in/a")
    with pytest.raises(SecurityError, match="its name"):
        await extracted(tmp_path / "in" / "a")

    assert [bool(each.get("refused")) for each in listed["files"]] == [False, True]
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a"]


def _zip_link() -> bytes:
    info = zipfile.ZipInfo("evil")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped((info, b"/etc/passwd"))


@pytest.mark.parametrize(
    "made",
    [
        _zip_link(),
        tarred(member("evil", tarfile.SYMTYPE, "/etc"), member("evil/passwd")),
        tarred(member("evil", tarfile.LNKTYPE, "/etc/passwd")),
        tarred(member("evil", tarfile.FIFOTYPE)),
        tarred(member("evil", tarfile.CHRTYPE)),
    ],
    ids=["zip symlink", "tar symlink", "hard link", "pipe", "device"],
)
async def test_a_link_or_device_is_refused_and_nothing_is_written(tmp_path: Path, made: bytes) -> None:
    (tmp_path / "a").write_bytes(made)

    with pytest.raises(SecurityError, match="it is a"):
        await extracted(tmp_path / "a")

    assert not (tmp_path / "out").exists()


async def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in" / "out").mkdir(parents=True)
    (tmp_path / "in" / "inner").mkdir()
    (tmp_path / "in" / "out" / "link").symlink_to(tmp_path)
    (tmp_path / "in" / "out" / "within").symlink_to(tmp_path / "in" / "inner")
    for name in ("link/file", "within/file"):
        (tmp_path / "in" / "a").write_bytes(zipped((name, b"x")))
        with pytest.raises(SecurityError):
            await extracted(tmp_path / "in" / "a")

    assert list((tmp_path / "in" / "inner").iterdir()) == []
    assert not (tmp_path / "file").exists()


async def test_hidden_files_and_names_that_clash_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for made, error in (
        (tarred(member("ok"), member(".ssh/authorized_keys")), SecurityError),
        (tarred(member("a"), member("./a")), ToolError),
        (tarred(member("a"), member("a/b")), ToolError),
    ):
        (tmp_path / "a").write_bytes(made)
        with pytest.raises(error):
            await extracted(tmp_path / "a")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a/setup.exe", "LIB.SO.1.2", "trojan.exe. "])
async def test_a_member_that_no_tool_may_write_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar").write_bytes(tarred(member("notes.txt"), member(name)))

    listed = await told(tmp_path, operation="list", path=f"{tmp_path}/a.tar")
    with pytest.raises(SecurityError, match="never written; leave it out by naming others in input"):
        await extracted(tmp_path / "a.tar")
    written = (tmp_path / "out").exists()
    chosen = await extracted(tmp_path / "a.tar", input=["notes.txt"])

    assert [bool(each.get("refused")) for each in listed["files"]] == [False, True]
    assert (written, chosen["extracted_files"]) == (False, ["notes.txt"])


async def test_what_no_tool_may_write_is_set_for_all_tools_together(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(("run.ps1", b"x"), ("a.exe", b"x")))
    settings = settings_of(tmp_path, tools={"file_operations": {"blocked_extensions": [".PS1"]}})
    call = {"operation": "extract", "path": f"{tmp_path}/a.zip", "target_path": f"{tmp_path}/out"}

    async with opened(ArchiveHandler, settings=settings) as host:
        with pytest.raises(SecurityError, match=r"run\.ps1: a file that ends in \.ps1 is never written"):
            await host.call("tool:archive_handler", call)
        other = await host.call("tool:archive_handler", {**call, "input": ["a.exe"]})

    assert other.result["extracted_files"] == ["a.exe"]


def _bombs() -> dict[str, Callable[[], bytes]]:
    zeros = bytes(3_000_000)
    lying = bytearray(zipped(("zeros", zeros)))
    for offset in (22, lying.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", lying, offset, 10)
    return {
        "zip": lambda: zipped(("zeros", zeros)),
        "zip by bzip2": lambda: zipped(("zeros", zeros), method=zipfile.ZIP_BZIP2),
        "zip by lzma": lambda: zipped(("zeros", zeros), method=zipfile.ZIP_LZMA),
        "zip of many": lambda: zipped(*((f"{n}", bytes(900_000)) for n in range(4))),
        "zip with a lying header": lambda: bytes(lying),
        "tar.gz": lambda: tarred((tarfile.TarInfo("zeros"), zeros), mode="w:gz"),
        "zip of one that is too large": lambda: zipped(("zeros", bytes(1_500_000))),
        "gz": lambda: gzip.compress(zeros),
        "bz2": lambda: bz2.compress(zeros),
        "xz": lambda: lzma.compress(zeros),
        "tar with a header of a terabyte": _terabyte,
        "zip of too many files": lambda: zipped(*((f"{n}", b"") for n in range(60))),
        "tar of too many files": lambda: tarred(*(member(f"{n}") for n in range(60))),
        "zip whose files overlap": _overlapping,
    }


def _terabyte() -> bytes:
    info = tarfile.TarInfo("huge")
    info.size = 1 << 40
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)


def _overlapping() -> bytes:
    """One entry that twenty names stand for; each is small, and Python 3.11.7 opens it."""
    made = bytearray(zipped(("name0", b"y" * 1000)))
    at = made.index(b"PK\x01\x02")
    entry, end = bytes(made[at:-22]), bytearray(made[-22:])
    struct.pack_into("<HHI", end, 8, 20, 20, 20 * len(entry))
    return bytes(made[:at]) + entry * 20 + bytes(end)


@pytest.mark.parametrize("name", _bombs())
async def test_a_bomb_ends_in_one_error_and_writes_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(_bombs()[name]())
    small = {"max_file_size_bytes": 1_000_000, "max_total_bytes": 2_000_000, "max_files": 50}

    with pytest.raises((ResourceLimitError, ToolError), match=r"more than|damaged") as caught:
        await told(tmp_path, small, operation="extract", path=f"{tmp_path}/a", target_path=f"{tmp_path}/out")

    assert not (tmp_path / "out").exists()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


async def test_a_header_that_takes_the_memory_kills_the_child_and_not_the_host(tmp_path: Path) -> None:
    """A pax header of two gigabytes: Python's tarfile holds it whole."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    (tmp_path / "a").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(90_000_000), 9))
    settings = settings_of(tmp_path, tools={"archive_handler": {"max_total_bytes": 4 << 30}, "memory_bytes": 64 << 20})

    async with opened(ArchiveHandler, settings=settings) as host:
        for _ in range(2):
            with pytest.raises(ResourceLimitError, match="of memory"):
                await host.call("tool:archive_handler", {"operation": "list", "path": f"{tmp_path}/a"})


async def test_a_folder_goes_in_without_what_may_not_be_read(tmp_path: Path, tree: Path) -> None:
    (tree / ".secret").write_text("s")
    (tree / "link").symlink_to("notes.txt")

    result = await told(tmp_path, operation="create", path=f"{tree}/self.tar", input=[str(tree)])
    again = await told(tmp_path, operation="create", path=f"{tree}/self.tar", input=[str(tree)])

    assert sorted(result["left_out"]) == [".secret", "link"]
    listed = oracle("tar", "-tf", f"{tree}/self.tar", "--quoting-style=literal").decode().split()
    assert sorted(name for name in listed if name[-1] != "/") == sorted(f"tree/{name}" for name in FILES)
    assert again == result


async def test_what_goes_in_is_judged(tmp_path: Path, tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    (tree / ".hidden").write_text("s")

    for wrong in ("/etc/passwd", f"{tree}/../../../etc/passwd", f"{tree}/link", f"{tree}/.hidden"):
        with pytest.raises(SecurityError):
            await told(tmp_path, operation="create", path=f"{tmp_path}/a.zip", input=[wrong])
    with pytest.raises(ToolError, match=r"none: no such file"):
        await told(tmp_path, operation="create", path=f"{tmp_path}/a.zip", input=[f"{tree}/none"])

    assert not (tmp_path / "a.zip").exists()


async def test_bad_input_is_told_in_one_line(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "text").write_text("no archive " * 100)
    for parameters, match in (
        ({"operation": "create", "path": f"{tmp_path}/a.rar", "input": [str(tree)]}, "does not tell it"),
        ({"operation": "create", "path": f"{tmp_path}/a.zip"}, "create needs input"),
        ({"operation": "create", "path": f"{tmp_path}/a.gz", "input": [str(tree)]}, "gz holds one file"),
        ({"operation": "extract", "path": f"{tmp_path}/text"}, "extract needs target_path"),
        ({"operation": "list", "path": f"{tmp_path}/text"}, "it is no archive"),
        ({"operation": "list", "path": f"{tmp_path}/none"}, "no such file"),
    ):
        with pytest.raises((ToolError, InvalidInputError), match=match):
            await told(tmp_path, **parameters)


async def test_an_encrypted_zip_is_told(tmp_path: Path, tree: Path) -> None:
    oracle("zip", "-q", "-P", "secret", f"{tmp_path}/a.zip", "notes.txt", folder=tree)

    listed = await told(tmp_path, operation="list", path=f"{tmp_path}/a.zip")
    with pytest.raises(ToolError, match="encrypted"):
        await extracted(tmp_path / "a.zip")

    assert listed["files"][0]["refused"] == "it is encrypted"


async def test_what_is_too_large_to_pack_leaves_the_old_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"old")
    (tmp_path / "big").write_bytes(bytes(2000))

    with pytest.raises(ResourceLimitError):
        small = {"max_file_size_bytes": 1000}
        await told(tmp_path, small, operation="create", path=f"{tmp_path}/a.zip", input=[f"{tmp_path}/big"])

    assert contents(tmp_path) == {"a.zip": b"old", "big": bytes(2000)}


async def test_a_cancelled_extraction_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(*((f"{n}", bytes(1000)) for n in range(3000))))
    out = tmp_path / "out"

    async with opened(ArchiveHandler, settings=settings_of(tmp_path)) as host, trio.open_nursery() as nursery:

        async def extract() -> None:
            parameters = {"operation": "extract", "path": f"{tmp_path}/a.zip", "target_path": str(out)}
            await host.call("tool:archive_handler", parameters)

        nursery.start_soon(extract)
        while not out.exists() or len(os.listdir(out)) < 5:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    left = contents(out)
    assert 1 <= len(left) < 3000
    assert set(left.values()) == {bytes(1000)} and not any(name.startswith(".") for name in left)
