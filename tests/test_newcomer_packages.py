"""Five packages that use only what the documents describe, as users have them: wheels in a fresh environment."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias

import pytest

from installed import EXAMPLES, build, clean_environment, environment
from waiting import PATIENCE_S

NAMES = ("deploy", "echo", "redact", "ticker", "weather")
Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(tmp_path_factory.mktemp("build"), *(EXAMPLES / f"llmspell-{name}" for name in NAMES))


@pytest.fixture(scope="module")
def python(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of one environment with all of them in it."""
    return environment(tmp_path_factory.mktemp("environment"), wheels)[0]


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    """What runs this interpreter in an empty project; the user's settings are a text."""
    project = tmp_path / "project"
    for folder in (project / ".git", tmp_path / "config"):
        folder.mkdir(parents=True)

    def run(*arguments: str | Path, settings: str = "") -> subprocess.CompletedProcess[str]:
        quiet = "[plugins.ticker]\nenabled = false\n"  # it has no feed here, and says so
        (tmp_path / "config" / "llmspell.toml").write_text(quiet + settings)
        return subprocess.run(
            [python, *arguments],
            cwd=project,
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    return run


def test_the_wheels_hold_their_entry_points_and_type_markers(wheels: list[Path]) -> None:
    found = []
    for wheel in wheels:
        (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
        found += [(point.group, point.name) for point in distribution.entry_points]
        assert any(str(file).endswith("/py.typed") for file in distribution.files or ())

    assert sorted(found) == [
        ("llmspell.commands", "deploy"),
        ("llmspell.deploy_targets", "folder"),
        ("llmspell.globals", "Deploy"),
        ("llmspell.kinds", "deploy"),
        ("llmspell.plugins", "redact"),
        ("llmspell.providers", "echo"),
        ("llmspell.services", "ticker"),
        ("llmspell.storage", "notebook"),
        ("llmspell.tools", "weather"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass_against_the_installed_package(run: Run, tmp_path: Path, name: str) -> None:
    shutil.copytree(EXAMPLES / f"llmspell-{name}" / "tests", tmp_path / "tests")
    shutil.copy(EXAMPLES / f"llmspell-{name}" / "pyproject.toml", tmp_path)

    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", tmp_path / "pyproject.toml", tmp_path / "tests")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.mark.parametrize("stream", [(), ("--stream",)])
def test_an_answer_of_the_echo_is_redacted(run: Run, stream: Sequence[str]) -> None:
    asked = "write to ada@example.com"

    done = run("-m", "llmspell", "agent", "run", "--model", "echo/words", *stream, asked)

    assert (done.returncode, done.stdout, done.stderr) == (0, "write to [redacted]\n", "")


def test_state_is_kept_in_the_notebook(run: Run) -> None:
    settings = '[storage]\nbackend = "notebook"\n[storage.notebook]\npath = "notes.jsonl"\n'

    written = run("-m", "llmspell", "state", "set", "mood", "calm", settings=settings)
    read = run("-m", "llmspell", "state", "get", "mood", settings=settings)

    assert (written.returncode, read.returncode) == (0, 0), written.stderr + read.stderr
    assert "calm" in read.stdout


class Service(BaseHTTPRequestHandler):
    """It is always the same weather."""

    def do_GET(self) -> None:
        report = json.dumps({"temperature": 68, "sky": "clear, says ada@example.com"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(report)))
        self.end_headers()
        self.wfile.write(report)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_weather_is_asked_for_as_settings_say_and_redacted(run: Run, service: str) -> None:
    settings = f'[tools.weather]\nbase_url = "{service}"\nunits = "imperial"\n'
    settings += '[security.hosts]\nprivate = ["127.0.0.1"]\n'

    done = run("-m", "llmspell", "tool", "invoke", "weather", "city=Bern", settings=settings)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "city": "Bern",
        "temperature": 68,
        "unit": "°F",
        "sky": "clear, says [redacted]",
    }


def test_without_its_service_the_weather_says_what_to_set(run: Run) -> None:
    done = run("-m", "llmspell", "tool", "invoke", "weather", "city=Bern")

    assert (done.returncode, done.stdout) == (1, "")
    assert "tools.weather.base_url: " in done.stderr
    assert "set it in [tools.weather]" in done.stderr


def test_they_pass_strict_types_without_an_ignore(tmp_path: Path) -> None:
    packages = [EXAMPLES / f"llmspell-{name}" for name in NAMES]
    assert "type: ignore" not in "".join(file.read_text() for each in packages for file in each.rglob("*.py"))
    folder = Path(__file__).parent.parent
    roots = ("host", "hookspecs", "plugins", "testing")
    paths = [*(folder / each for each in roots), *(each / "src" for each in packages)]
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {':'.join(map(str, paths))}\n")
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path)]
    files = [str(file) for each in packages for file in each.rglob("*.py")]

    done = subprocess.run([sys.executable, "-m", "mypy", *options, *files], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout
