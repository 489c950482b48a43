"""The global Artifact, as scripts call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs.errors import ScriptError


def run_lua(source: str, folder: Path) -> Any:
    """Run Lua in a host whose project is a folder."""

    async def main() -> Any:
        loaded = load_settings({"storage": {"backend": "memory"}}, environment={}, cwd=folder)
        async with Host.open(loaded, discover=False) as host:
            return await host.run_source(source, "lua")

    return trio.run(main)


def test_bytes_of_every_value_come_back_as_they_were(tmp_path: Path) -> None:
    found = run_lua(
        """
        local all = {}
        for byte = 0, 255 do all[#all + 1] = string.char(byte) end
        local content = table.concat(all):rep(200)
        local id = Artifact.store("", "tool_result", "bytes", content)
        local got = Artifact.get("", id)
        return {got.content == content, #got.content, got.metadata.size, got.metadata.artifact_type, id.sequence,
          id.session_id, #id.content_hash}
        """,
        tmp_path,
    )

    assert found == [True, 51_200, 51_200, "tool_result", 1, "host", 64]


def test_metadata_is_lifted_into_its_fields_and_the_rest_is_kept(tmp_path: Path) -> None:
    found = run_lua(
        """
        local sid = Session.create()
        local first = Artifact.store(sid, "user_input", "plan.md", "# plan")
        local id = Artifact.store(sid, "my_type", "plan.md", "# a better plan",
          {tags = {"a", "b"}, mime_type = "text/markdown", description = "d", author = "ann", parent = first})
        return Artifact.get(sid, id).metadata
        """,
        tmp_path,
    )

    assert (found["tags"], found["mime_type"], found["description"]) == (["a", "b"], "text/markdown", "d")
    assert found["custom"] == {"author": "ann"}
    assert (found["artifact_type"], found["version"]["version"]) == ("my_type", 2)
    assert found["version"]["previous_hash"] == found["parent_artifact"]["content_hash"]


def test_an_empty_session_is_the_current_one(tmp_path: Path) -> None:
    found = run_lua(
        """
        local sid = Session.create()
        Session.set_current(sid)
        Artifact.store("", "tool_result", "mine", "1")
        local inside = #Artifact.list("")
        Session.set_current(nil)
        Artifact.store("", "tool_result", "host's", "1")
        return {inside, #Artifact.list(""), #Artifact.list(sid), Artifact.list(sid)[1].name}
        """,
        tmp_path,
    )

    assert found == [1, 1, 1, "mine"]


def test_a_query_takes_the_originals_words_too(tmp_path: Path) -> None:
    found = run_lua(
        """
        local sid = Session.create()
        Artifact.store(sid, "ToolResult", "a.json", "[1]", {tags = {"x"}})
        Artifact.store(sid, "note", "b.txt", "12345")
        local function names(query)
          local found = {}
          for _, each in ipairs(Artifact.query(query)) do found[#found + 1] = each.name end
          return table.concat(found, " ")
        end
        return {names{session_id = sid}, names{type = "tool_result"}, names{type = "ToolResult"},
          names{type = 'Custom("note")'}, names{name_pattern = "*.txt"}, names{tags = {"x"}}, names{min_size = 4},
          names{sort_by = "date", descending = true, limit = 1}}
        """,
        tmp_path,
    )

    assert found == ["a.json b.txt", "a.json", "a.json", "b.txt", "b.txt", "a.json", "b.txt", "b.txt"]


def test_a_file_is_stored_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"a": 1}')

    found = run_lua(
        f"""
        local id = Artifact.store_file("", "{tmp_path}/data.json", "user_input", {{tags = {{"file"}}}})
        local got = Artifact.get("", id)
        return {{got.content, got.metadata.name, got.metadata.mime_type, got.metadata.tags[1]}}
        """,
        tmp_path,
    )

    assert found == ['{"a": 1}', "data.json", "application/json", "file"]


def test_rights_versions_changes_and_deletion_do_what_they_say(tmp_path: Path) -> None:
    found = run_lua(
        """
        local owner, other = Session.create(), Session.create()
        local id = Artifact.store(owner, "tool_result", "secret", "text")
        Session.set_current(other)
        local refused = not pcall(Artifact.get, owner, id)
        Session.set_current(owner)
        Artifact.grant(owner, id, "session:" .. other, "read")
        Session.set_current(other)
        local read = Artifact.get(owner, id).content
        local no_more = not pcall(Artifact.delete, owner, id)
        Session.set_current(owner)
        local acl = Artifact.acl(owner, id)
        Artifact.revoke(owner, id, "session:" .. other)
        Artifact.update(owner, id, {tags = {"new"}})
        local tag = Artifact.metadata(owner, id).tags[1]
        Session.set_current(nil)
        local audit = Artifact.audit(owner)
        local left, versions = #Artifact.acl(owner, id), #Artifact.versions(owner, "secret")
        local valid = Artifact.verify().valid
        return {refused, read, no_more, acl[1].right, left, tag, versions, valid, Artifact.delete(owner, id),
          Artifact.delete(owner, id), audit[1].action}
        """,
        tmp_path,
    )

    assert found == [True, "text", True, "read", 0, "new", 1, True, True, False, "create"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("Artifact.get('', 7)", "artifact host/7: there is none"),
        ("Artifact.get('', {})", "is no id; give what Artifact.store returned"),
        ("Artifact.get('other', {session_id = 'host', sequence = 1})", "its id is of session host, not other"),
        ("Artifact.store('none', 'a', 'b', 'c')", "session none: there is none"),
        ("Artifact.store('', 'a', '', 'c')", "artifact name"),
        ("Artifact.store('', 'a', 'b', '{', {mime_type = 'application/json'})", "it is no application/json"),
        ("Artifact.query{limit = -1}", "Artifact.query: limit"),
        ("Artifact.grant('', 1, 'x', 'read')", "artifact principal 'x'"),
        ("Artifact.store_file('', '/etc/hostname', 'a')", "hostname"),
    ],
)
def test_what_is_wrong_is_an_error_that_says_so(call: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=told):
        run_lua(f"return {call}", tmp_path)
