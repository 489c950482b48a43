"""Where tails and hosts meet: a folder of the user's own, in which each waiting tail leaves its request and a socket.

A tail leaves ``tail-NAME.json``, what it asks for, and ``tail-NAME.sock``, where it listens. Then a host need not wait
for anybody to know which events are wanted, and a folder without requests costs it one listing.

Invariant: the folder is the user's and closed to all others, else it is not used; sockets in it connect processes of
one user only, which is checked again at both ends. A request is there only while its socket is listened on, unless its
tail was killed; whoever finds that out takes it away.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
import time
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs.errors import SecurityError

__all__ = ["Meeting", "Request", "is_ours"]

_PREFIX: Final = "tail-"
_REQUEST_BYTES: Final = 1 << 20
_VERSION: Final = 1
_WAITING: Final = 1024
_ORPHAN_S: Final = 60.0


class Request(Struct, frozen=True):
    """What a tail asks for.

    Attributes:
        patterns: Of the events' topics.
        capacity: How many events wait for it, in each host, at most.
        beside: The process whose own host is not to be seen: the tail's; 0 for none.
        version: Of what both sides say to each other.
    """

    patterns: tuple[str, ...]
    capacity: int = 1024
    beside: int = 0
    version: int = _VERSION


class Meeting:
    """The folder, opened once, so that it stays the one that was examined.

    Args:
        folder: Where it lies.
        create: Whether to make it if it is missing.

    Raises:
        FileNotFoundError: It is missing.
        SecurityError: It is another's, or open to others.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        if create:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self._handle)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            self.close()
            mode = stat.S_IMODE(found.st_mode)
            message = f"event tail: {folder} is open to others (owner {found.st_uid}, mode {mode:04o}); chmod 700 it"
            raise SecurityError(message, rule="path")

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._handle)

    def names(self) -> list[str]:
        """Return the names of the tails that wait."""
        found = [name for name in os.listdir(self._handle) if name.startswith(_PREFIX) and name.endswith(".json")]
        return sorted(name.removesuffix(".json") for name in found)

    def read(self, name: str) -> Request:
        """Return what a tail asks for.

        Raises:
            OSError: It is gone.
            ValueError: It asks for what this version does not know.
        """
        handle = os.open(f"{name}.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._handle)
        with os.fdopen(handle, "rb") as file:
            request = msgspec.json.decode(file.read(_REQUEST_BYTES), type=Request)
        if request.version != _VERSION:
            raise ValueError(f"version {request.version}")
        return request

    def connect(self, name: str) -> socket.socket:
        """Return a connection to a tail, at once; one that is dead is taken away.

        Raises:
            OSError: Nobody listens, or too many wait already.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(self._path(f"{name}.sock"))
            if not is_ours(connection):
                raise PermissionError("it is another user's")
        except OSError as error:
            connection.close()
            if isinstance(error, ConnectionRefusedError | FileNotFoundError):
                self.withdraw(name)
            raise
        return connection

    def listen(self, request: Request) -> tuple[str, socket.socket]:
        """Leave a request; answer its name and the socket on which hosts connect."""
        self._sweep()
        name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self._path(f"{name}.sock"))
            listener.listen(_WAITING)
            handle = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._handle)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(request))
            os.rename(f"{name}.new", f"{name}.json", src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except OSError:
            listener.close()
            self.withdraw(name)
            raise
        return name, listener

    def withdraw(self, name: str) -> None:
        """Take a request away."""
        for ending in ("json", "new", "sock"):
            try:
                os.unlink(f"{name}.{ending}", dir_fd=self._handle)
            except FileNotFoundError:
                continue

    def _sweep(self) -> None:
        """Take away what tails left that were killed."""
        for name in self.names():
            try:
                self.connect(name).close()
            except OSError:
                continue
        for file in os.listdir(self._handle):
            name, _, ending = file.rpartition(".")
            if name.startswith(_PREFIX) and ending in ("new", "sock") and self._orphaned(name, file):
                self.withdraw(name)

    def _orphaned(self, name: str, file: str) -> bool:
        """Whether a tail was killed before it had left its request."""
        if f"{name}.json" in os.listdir(self._handle):
            return False
        try:
            return time.time() - os.stat(file, dir_fd=self._handle).st_mtime > _ORPHAN_S
        except FileNotFoundError:
            return False

    def _path(self, file: str) -> str:
        """Return a path for sockets, whose paths must be short: by the open folder where the system has such names."""
        return f"/proc/self/fd/{self._handle}/{file}" if os.path.isdir("/proc/self/fd") else str(self.folder / file)


def is_ours(connection: socket.socket | trio.socket.SocketType) -> bool:
    """Return whether the process at the other end runs as this user, where the system tells; else the folder counts."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", found)[1]
    return user == os.geteuid()
