"""The database-connector over TLS, on a PostgreSQL and a MariaDB server of our own with certificates of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from kernel import opened
from llmspell_hookspecs import ToolError, ToolResult
from llmspell_plugins.services.asyncio_thread import AsyncioThread
from llmspell_plugins.tools.data.database_connector import DatabaseConnector
from waiting import until

pytestmark = pytest.mark.long

PASSWORD = "Correct-horse-4"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def certified(tmp_path: Path) -> Path:
    """A folder with an authority and a certificate for localhost, which another user of the system can read."""
    folder = tmp_path / "server"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = authority.issue_cert("localhost")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder


@pytest.fixture
def postgres(certified: Path) -> Iterator[dict[str, Any]]:
    if os.getuid() != 0 or not BINARIES or not shutil.which("runuser"):
        pytest.skip("a PostgreSQL server of our own is started as the user postgres, by root, from Debian's package")
    if subprocess.run(["runuser", "-u", "postgres", "--", "true"], check=False).returncode:
        pytest.skip("there is no user postgres")
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are root's alone
        folder = Path(shutil.copytree(certified, Path(name) / "server"))
        (folder / "password").write_text(PASSWORD)
        subprocess.run(["chown", "-R", "postgres", name], check=True)
        run = ["runuser", "-u", "postgres", "--"]
        make = ["initdb", "-D", str(folder / "data"), "-A", "scram-sha-256", "--pwfile", str(folder / "password")]
        subprocess.run([*run, BINARIES[-1] / make[0], *make[1:]], check=True, capture_output=True, cwd="/")
        rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (folder / "data" / "pg_hba.conf").write_text(rules)
        port = free_port()
        options = {"ssl": "on", "ssl_cert_file": folder / "cert.pem", "ssl_key_file": folder / "key.pem"}
        options |= {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        given = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        command: list[Any] = [*run, BINARIES[-1] / "postgres", "-D", folder / "data", "-p", str(port), *given]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/") as process:
            try:
                until(lambda: reachable(port), "PostgreSQL")
                query = f"CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'"
                made = ["psql", "-h", str(folder), "-p", str(port), "-U", "postgres", "-qc", query]
                until(lambda: not subprocess.run(made, capture_output=True, check=False).returncode, "psql")
                yield {"kind": "postgres", "port": port, "database": "postgres", "ca_file": str(certified / "ca.pem")}
            finally:
                process.terminate()


@pytest.fixture
def mariadb(certified: Path) -> Iterator[dict[str, Any]]:
    if os.getuid() != 0 or not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        pytest.skip("a MariaDB server of our own is started by root, from Debian's package")
    data = certified / "data"
    make = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    subprocess.run(make, check=True, capture_output=True)
    port = free_port()
    user = f"CREATE USER ada@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL"
    (certified / "init.sql").write_text(f"CREATE DATABASE shop;\n{user};\nGRANT ALL ON shop.* TO ada@'%';\n")
    command = ["mariadbd", "--no-defaults", f"--datadir={data}", "--user=root", f"--port={port}", "--skip-name-resolve"]
    command += ["--bind-address=127.0.0.1", f"--socket={certified}/s", f"--init-file={certified}/init.sql"]
    command += [f"--ssl-cert={certified}/cert.pem", f"--ssl-key={certified}/key.pem"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: reachable(port), "MariaDB")
            yield {"kind": "mysql", "port": port, "database": "shop", "ca_file": str(certified / "ca.pem")}
        finally:
            process.terminate()


@pytest.fixture(params=["postgres", "mariadb"])
def table(request: pytest.FixtureRequest) -> dict[str, Any]:
    pytest.importorskip("asyncpg", reason="asyncpg comes with the extra database")
    pytest.importorskip("pymysql", reason="pymysql comes with the extra database")
    made: dict[str, Any] = request.getfixturevalue(request.param)
    return {"host": "localhost", "user": "ada", "password": PASSWORD, **made}


async def test_a_server_is_talked_to_over_tls_if_its_certificate_has_its_name(table: dict[str, Any]) -> None:
    postgres = table["kind"] == "postgres"
    asked = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    query = asked if postgres else "SHOW STATUS LIKE 'Ssl_version'"

    result = await ask(table, query)

    [row] = result.result["rows"]
    assert list(row.values())[-1] == "TLSv1.3"
    for wrong in ({"ca_file": ""}, {"host": "127.0.0.1"}):
        with pytest.raises(ToolError, match="certificate") as caught:
            await ask({**table, **wrong}, query)
        assert caught.value.code == "connection"


async def test_a_server_that_wants_tls_gets_no_plain_connection(table: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match="no connection") as caught:
        await ask({**table, "tls": False}, "SELECT 1")

    assert PASSWORD not in str(caught.value)


async def ask(table: dict[str, Any], query: str) -> ToolResult:
    settings = {"tools": {"database-connector": {"connections": {"own": table}}}}
    async with opened(DatabaseConnector, AsyncioThread, settings=settings) as host:
        result: ToolResult = await host.call("tool:database-connector", {"operation": "query", "query": query})
    return result
