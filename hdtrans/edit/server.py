"""Serve the editor's page on this machine alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from hdtrans.common.errors import UserError
from hdtrans.common.folder_lock import FolderLock
from hdtrans.edit.guard import Guard
from hdtrans.edit.routes import application
from hdtrans.edit.studio import Options, Studio
from hdtrans.inference.translator import Translator

LOOPBACK = "127.0.0.1"


class Server(uvicorn.Server):
    """A uvicorn server that calls back once it listens, and ends quietly at a signal."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call back."""
        await super().startup(sockets=sockets)
        self._started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at SIGINT and SIGTERM without raising them again: documents are saved after the server."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(port: int) -> socket.socket:
    """Return a socket on the loopback address; port 0 is any free one. Raises UserError for one in use."""
    if not 0 <= port <= 65535:
        raise UserError("a port is a number from 0 to 65535; 0 takes a free one", argument="port", value=port)
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        finding = f"cannot be used: {error.strerror or error}; 0 takes a free one"
        raise UserError(finding, argument="port", value=port) from error
    return listening


def make_server(
    studio: Studio, listening: socket.socket, token: str, started: Callable[[], None] = lambda: None
) -> Server:
    """Return the server of a studio.

    Args:
        studio: documents and model.
        listening: socket that `listen` made.
        token: secret of the page's address.
        started: called once the server listens.
    """
    guard: Any = Guard(application(studio), listening.getsockname()[1], token)
    config = uvicorn.Config(
        guard,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    return Server(config, started)


def serve(translator: Translator, options: Options, port: int = 0, browser: bool = True) -> None:
    """Serve the editor until Ctrl-C, then save.

    Args:
        translator: model.
        options: inputs and output folder.
        port: port on 127.0.0.1; 0: a free one.
        browser: open the page in the user's browser.

    Raises:
        UserError: the model cannot be edited, the port is in use, or another process owns the output folder.
    """
    listening, token = listen(port), secrets.token_urlsafe(24)
    with listening, FolderLock(options.out) as lock:
        studio = Studio(translator, options, lock)
        address = f"http://{LOOPBACK}:{listening.getsockname()[1]}/#{token}"

        def started() -> None:
            print(f"The editor: {address}\nProjects are saved in {options.out}. Ctrl-C ends the editor.", flush=True)
            if "SSH_CONNECTION" in os.environ:
                number = listening.getsockname()[1]
                print(f"From your own machine: ssh -L {number}:{LOOPBACK}:{number} THIS_MACHINE, then open it there.")
            if browser and _has_window_system():
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        try:
            make_server(studio, listening, token, started).run(sockets=[listening])
        finally:
            studio.close()


def _has_window_system() -> bool:
    """Return False where a browser would open inside this terminal, or not at all."""
    return not sys.platform.startswith("linux") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
