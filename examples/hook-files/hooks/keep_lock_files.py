"""A hook of Claude Code as it is: keeps agents from writing lock files by hand."""

import json
import sys

call = json.load(sys.stdin)
path = call["tool_input"].get("file_path", "")
if path.endswith((".lock", "package-lock.json")):
    answer = {
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": f"{path} is written by its package manager, not by hand",
    }
    print(json.dumps({"hookSpecificOutput": answer}))
