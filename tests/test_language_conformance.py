"""The languages in the box: the conformance suite over each of them."""

from __future__ import annotations

from typing import ClassVar

from llmspell_testing import LanguageConformance


class TestLua(LanguageConformance):
    language = "lua"
    sources: ClassVar[dict[str, str]] = {
        "a number": "return 7",
        "values": "return {list = {1, 2.5, 'three'}, text = 'ü', yes = true, within = {deep = {{}}}}",
        "nothing": "local x = 1",
        "says hello": "print('hello')",
        "fails": "local x = 1\nerror('torn')",
        "is no program": "return return",
        "goes on for ever": "while true do end",
        "takes memory": "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "calls a tool": "return Tool.invoke('calculator', {input = '2 + 2'}).result.result",
        "a tool that fails": "local ok, error = pcall(Tool.invoke, 'calculator', {}) return tostring(error)",
        "waits for a tool": "Tool.invoke('wait', {})",
        "denies": "Hook.register('BeforeToolExecution', function() return {type = 'cancel', reason = 'mine'} end)\n"
        "local ok, error = pcall(Tool.invoke, 'calculator', {input = '1'}) return tostring(error)",
        "changes": "Hook.register('BeforeToolExecution', function(context)\n"
        "return {type = 'modified', data = {parameters = {input = '3 + 4'}}} end)\n"
        "return Tool.invoke('calculator', {input = '1 + 1'}).result.result",
        "hears": "local id = Event.subscribe('lab.*') Event.publish('lab.test', {n = 5})\n"
        "return Event.receive(id, 1000).data.n",
        "keeps": "State.set('k', {n = 1}) return State.get('k').n",
        "arguments": "return ARGS[1]",
    }
    escapes = (
        "return os.execute('true')",
        "return io.popen('true')",
        "return require('os').execute",
        "return load('\\27Lua')",
        "return string.dump(function() end)",
        "return debug.getregistry",
        "return package.loadlib",
        "return python",
        "return getmetatable('').__index.__class__",
        "return io.open('/etc/passwd')",
        "return dofile('/etc/passwd')",
    )
