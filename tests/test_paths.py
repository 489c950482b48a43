"""Paths: what is resolved, what is refused, and what the refusal says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell_hookspecs import FileAccess
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.path_rules import PathJudge, PathRules


def _judge(base: Path, *, denied: tuple[str, ...] = (), **options: object) -> PathJudge:
    (base / "work").mkdir(exist_ok=True)
    (base / "inbox").mkdir(exist_ok=True)
    (base / "secret.txt").write_text("outside")
    rules = PathRules(read=("work", "inbox"), write=("work",), denied=denied)
    return PathJudge(rules, str(base), **options)  # type: ignore[arg-type]


def test_it_keeps_the_protocol(tmp_path: Path) -> None:
    assert isinstance(_judge(tmp_path), FileAccess)


def test_a_relative_path_is_answered_absolute(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    assert judge.resolve("work/a.txt", "write") == str(tmp_path / "work" / "a.txt")
    assert judge.resolve("./work//b/../a.txt", "read") == str(tmp_path / "work" / "a.txt")
    assert judge.resolve(str(tmp_path / "inbox"), "read") == str(tmp_path / "inbox")


def test_the_roots_are_those_of_the_rules(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    assert judge.roots("read") == (str(tmp_path / "work"), str(tmp_path / "inbox"))
    assert judge.roots("write") == (str(tmp_path / "work"),)


def test_a_rule_may_name_the_folder_for_temporary_files(tmp_path: Path) -> None:
    import tempfile

    judge = PathJudge(PathRules(read=("<tmp>",)), str(tmp_path))
    assert judge.roots("read") == (os.path.realpath(tempfile.gettempdir()),)


@pytest.mark.parametrize(
    "path",
    [
        "secret.txt",
        "work/../secret.txt",
        "work/./../secret.txt",
        "work/nowhere/../../secret.txt",
        "../work/../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "work2/a.txt",
        "worker",
        "",
        "work/a\0.txt",
        "work/../../../../../../../../etc/passwd",
        "~/x",
        "work/\ud800",
        "work/" + "a/" * 3000,
    ],
)
def test_what_lies_outside_is_refused(tmp_path: Path, path: str) -> None:
    judge = _judge(tmp_path)
    with pytest.raises(SecurityError) as caught:
        judge.resolve(path, "read")
    assert caught.value.rule == "path"
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_be_read_may_not_be_written(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    with pytest.raises(SecurityError) as caught:
        judge.resolve("inbox/a.txt", "write")
    assert str(tmp_path / "work") in str(caught.value)
    assert "security.paths.write" in str(caught.value)
    assert judge.resolve("inbox/a.txt", "read")


def test_a_link_is_judged_by_what_it_names(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    (tmp_path / "work" / "out").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "work" / "folder").symlink_to(tmp_path)
    (tmp_path / "work" / "in").symlink_to(tmp_path / "work" / "a.txt")
    (tmp_path / "work" / "nowhere").symlink_to(tmp_path / "not-there-yet")
    for path in ("work/out", "work/folder/secret.txt", "work/nowhere"):
        with pytest.raises(SecurityError):
            judge.resolve(path, "read")
    assert judge.resolve("work/in", "read") == str(tmp_path / "work" / "a.txt")


def test_two_dots_after_a_link_count_from_where_it_leads(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "prey").write_text("outside")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other" / "deep")
    with pytest.raises(SecurityError):
        judge.resolve("work/link/../prey", "read")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    (tmp_path / "work" / "a").symlink_to("b")
    (tmp_path / "work" / "b").symlink_to("a")
    with pytest.raises(SecurityError, match="circle"):
        judge.resolve("work/a", "read")


@pytest.mark.parametrize("path", ["work/.env", "work/.git/config", "work/a/.b/c", "work/..."])
def test_hidden_names_below_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(SecurityError, match="hidden"):
        _judge(tmp_path).resolve(path, "read")


def test_an_allowed_folder_may_itself_be_hidden(tmp_path: Path) -> None:
    judge = PathJudge(PathRules(read=(".cache/mine",)), str(tmp_path))
    assert judge.resolve(".cache/mine/a", "read") == str(tmp_path / ".cache" / "mine" / "a")


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/sys/kernel", "/dev/zero", "/dev/fd/0"])
def test_system_folders_are_refused_even_if_everything_is_allowed(tmp_path: Path, path: str) -> None:
    judge = PathJudge(PathRules(read=("/",)), str(tmp_path))
    with pytest.raises(SecurityError):
        judge.resolve(path, "read")
    assert judge.resolve("/usr/bin", "read") == os.path.realpath("/usr/bin")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.pem", "work/a.pem"),
        ("*.pem", "work/A.PEM"),
        ("*.pem", "work/keys.pem/inner.txt"),
        ("*.pem", "work/a.\uff50\uff45\uff4d"),
        ("**/private", "work/private"),
        ("**/private", "work/private/deep/a.txt"),
        ("private/*", "work/private/a.txt"),
        ("**/id_rsa*", "work/id_rsa.bak"),
        ("Caf\u00e9", "work/cafe\u0301"),
    ],
)
def test_a_denied_glob_refuses_it_and_all_below(tmp_path: Path, pattern: str, path: str) -> None:
    with pytest.raises(SecurityError, match="denied"):
        _judge(tmp_path, denied=(pattern,)).resolve(path, "read")


def test_a_denied_glob_refuses_what_a_link_leads_to(tmp_path: Path) -> None:
    judge = _judge(tmp_path, denied=("*.pem",))
    (tmp_path / "work" / "key.pem").write_text("key")
    (tmp_path / "work" / "harmless.txt").symlink_to("key.pem")
    with pytest.raises(SecurityError, match="denied"):
        judge.resolve("work/harmless.txt", "read")


def test_a_denied_absolute_glob_refuses_only_there(tmp_path: Path) -> None:
    judge = _judge(tmp_path, denied=(f"{tmp_path}/work/closed",))
    with pytest.raises(SecurityError, match="denied"):
        judge.resolve("work/closed/a", "read")
    assert judge.resolve("work/open/closed", "read")


def test_settings_files_are_neither_read_nor_written(tmp_path: Path) -> None:
    judge = _judge(tmp_path, settings_files=("work/other.toml",))
    for path in ("work/llmspell.toml", "work/deep/LLMSPELL.toml", "work/other.toml"):
        with pytest.raises(SecurityError, match="secrets"):
            judge.resolve(path, "read")
        with pytest.raises(SecurityError, match="settings"):
            judge.resolve(path, "write")


def test_without_rules_nothing_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="no folder"):
        PathJudge(PathRules(read=()), str(tmp_path)).resolve("a", "read")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(parts=st.lists(st.sampled_from(["..", ".", "a", "out", "loop", "", "work", "é", "secret.txt"]), max_size=8))
def test_whatever_is_answered_lies_below_an_allowed_folder(tmp_path: Path, parts: list[str]) -> None:
    judge = _judge(tmp_path)
    for name, target in (("out", ".."), ("loop", "loop")):
        if not os.path.lexists(tmp_path / "work" / name):
            (tmp_path / "work" / name).symlink_to(target)
    try:
        resolved = judge.resolve("/".join(["work", *parts]), "write")
    except SecurityError:
        return
    assert (resolved + "/").startswith(str(tmp_path / "work") + "/")
    assert os.path.realpath(resolved) == resolved


def test_a_link_behind_a_circle_of_links_is_not_overlooked(tmp_path: Path) -> None:
    judge = _judge(tmp_path)
    (tmp_path / "work" / "out").symlink_to("..")
    (tmp_path / "work" / "loop").symlink_to("loop")

    with pytest.raises(SecurityError, match="circle"):
        judge.resolve("work/loop/../out/a", "write")


def test_a_link_that_is_gone_when_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: object) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    (tmp_path / "link").symlink_to("file")
    judge = PathJudge(PathRules(read=(".",), write=(".",)), str(tmp_path))
    monkeypatch.setattr("os.readlink", gone)

    with pytest.raises(SecurityError, match="it changed while it was looked at"):
        judge.resolve("link/file", "read")
