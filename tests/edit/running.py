"""A running editor on a small model of random weights, and requests to it."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hdtrans.cli.infer import SPELLING
from hdtrans.common.folder_lock import FolderLock
from hdtrans.edit.server import LOOPBACK, listen, make_server
from hdtrans.edit.studio import Options, Studio
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.translator import Translator
from tests.small_runs import made_checkpoint

TOKEN = "secret"
WIDTH, HEIGHT = 48, 32
CLASSES = 4
METHOD = {
    "kind": "pix2pixhd",
    "condition": {"boundary": "instance"},
    "generator": {"width": 4, "downsamples": 1, "blocks": 1},
}
FEATURES = {"features": {"count": 2, "width": 4, "downsamples": 1}}


def city(root: Path) -> Path:
    """Write two label maps with instance maps, class 3 has objects of its own; return the folder of the label maps."""
    for folder in ("test_label", "test_inst"):
        (root / folder).mkdir(parents=True)
    for number in range(2):
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[HEIGHT // 2 :] = 1
        label[20:28, 8:16] = label[20:28, 24:32] = 3
        instance = label.astype(np.uint16)
        instance[20:28, 8:16], instance[20:28, 24:32] = 3000, 3001 + number
        cv2.imwrite(str(root / f"test_label/{number}.png"), label)
        cv2.imwrite(str(root / f"test_inst/{number}.png"), instance)
    return root / "test_label"


def small_model(file: Path, **method: Any) -> Path:
    """Write a checkpoint of random weights on `CLASSES` classes; return it."""
    data = {"kind": "label_maps", "root": ".", "labels": CLASSES}
    return made_checkpoint(file, data, METHOD | method)


@dataclass
class Editor:
    """A running editor and a client of it."""

    studio: Studio
    port: int

    @property
    def address(self) -> str:
        """Address of the page, with its token."""
        return f"http://{LOOPBACK}:{self.port}/#{TOKEN}"

    def send(self, method: str, path: str, body: bytes | dict[str, Any] | None = None, **headers: str) -> "Response":
        """Send a request with the token; keys of `headers` have `_` for `-`."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=60)
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        given = {"X-Hdtrans-Token": TOKEN} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        found = Response(answer.status, answer.read(), dict(answer.getheaders()))
        connection.close()
        return found

    def opened(self, number: int = 0) -> str:
        """Open an input and return the path of its document."""
        answer = self.send("POST", "/api/documents", {"input": number})
        assert answer.status == 201, answer.body
        return f"/api/documents/{answer.json['document']}"

    def raw(self, text: bytes, wait: float = 5) -> bytes:
        """Send bytes, and return all that comes until the server closes the connection."""
        with socket.create_connection((LOOPBACK, self.port), timeout=wait) as connection:
            connection.sendall(text)
            found = b""
            while part := connection.recv(65536):
                found += part
            return found


@dataclass(frozen=True)
class Response:
    """An answer of the server; names of headers are lower case."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body as plain values."""
        return json.loads(self.body)


@contextmanager
def editor(model: Path, out: Path, inputs: Path | None = None, ready: bool = False) -> Iterator[Editor]:
    """Run an editor in a thread."""
    folders = None if inputs is None else Folders(inputs, {}, None, out, ready=ready)
    options = Options(out, folders, ["hdtrans", "infer", str(model), "--dtype", "fp32"], SPELLING)
    with FolderLock(out) as lock, listen(0) as listening:
        studio = Studio(Translator.load(model, "cpu", "fp32"), options, lock)
        started = threading.Event()
        server = make_server(studio, listening, TOKEN, started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        assert started.wait(30)
        try:
            yield Editor(studio, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
            studio.close()
