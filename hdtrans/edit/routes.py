"""Requests of the page and their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hdtrans.common.errors import UserError
from hdtrans.edit.documents import Document, StaleRevision
from hdtrans.edit.studio import Answer, Studio, encoded
from hdtrans.edit.worker import Superseded
from hdtrans.inference.folder.results import encode_result, file_ending
from hdtrans.inference.memory import is_out_of_memory

PAGE = (
    *("index.html", "style.css", "icon.svg"),
    *("app.js", "ids.js", "history.js", "tools.js", "view.js", "palette.js", "styles.js", "strip.js", "net.js"),
    *("keys.js", "session.js", "dialogs.js"),
)
"""Files of the page; no other file is ever served."""

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_INPUTS_AT_ONCE = 200
_MOST_JSON = 4 * 2**20  # bytes

Handler = Callable[[Request], Awaitable[Response]]


def application(studio: Studio) -> Starlette:
    """Return the application that answers what passes the guard."""
    routes = _Routes(studio)
    document = "/api/documents/{key}"
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/", routes.page),
        ("GET", "/app/{name}", routes.page),
        ("GET", "/api/model", routes.model),
        ("GET", "/api/inputs", routes.inputs),
        ("GET", "/api/inputs/{number}/thumbnail", routes.thumbnail),
        ("GET", "/api/documents", routes.documents),
        ("POST", "/api/documents", routes.open),
        ("POST", "/api/projects", routes.open_file),
        ("GET", document, routes.document),
        ("PATCH", document, routes.patch),
        ("GET", f"{document}/layers", routes.layers),
        ("PUT", f"{document}/upload", routes.upload),
        ("PUT", f"{document}/style", routes.style),
        ("POST", f"{document}/encode", routes.encode),
        ("GET", f"{document}/objects", routes.objects),
        ("POST", f"{document}/picture", routes.picture),
        ("GET", f"{document}/export", routes.export),
    ]
    handlers: Mapping[Any, Any] = {
        UserError: _user_error,
        StaleRevision: _stale,
        Superseded: _superseded,
        HTTPException: _http_error,
        Exception: _failed,
    }
    found = [Route(path, each, methods=[way]) for way, path, each in table]
    answering = Starlette(routes=found, exception_handlers=handlers)
    answering.router.redirect_slashes = False
    return answering


def _user_error(request: Request, error: UserError) -> Response:
    return JSONResponse({"error": str(error)}, 422)


def _stale(request: Request, error: StaleRevision) -> Response:
    return JSONResponse({"error": "another window changed this document", "revision": error.revision}, 409)


def _superseded(request: Request, error: Superseded) -> Response:
    return JSONResponse({"error": "a newer request took its place", "superseded": True}, 409)


def _http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _failed(request: Request, error: Exception) -> Response:
    if is_out_of_memory(error):
        words = "there is too little memory for a picture of this size"
    else:
        words = f"an error of hdtrans itself ({type(error).__name__}: {error}); the terminal shows where"
    return JSONResponse({"error": words}, 500)


class _Routes:
    """Handlers of the requests; blocking work runs in threads, the model in that of the worker."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._page = {name: (files(__package__) / "page" / name).read_bytes() for name in PAGE}

    async def page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._page:
            raise HTTPException(404, f"there is no {name}")
        return Response(self._page[name], media_type=_TYPES[name.rpartition(".")[2]])

    async def model(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.studio.facts))

    async def inputs(self, request: Request) -> Response:
        after = _whole(request, "after", 0)
        samples = self.studio.samples
        some = list(enumerate(samples))[after : after + _INPUTS_AT_ONCE]
        listed = [{"id": number, "name": sample.name} for number, sample in some]
        return JSONResponse({"total": len(samples), "inputs": listed})

    async def thumbnail(self, request: Request) -> Response:
        number = _number(request.path_params["number"], "input")
        if not 0 <= number < len(self.studio.samples):
            raise HTTPException(404, f"there is no input {number}")
        return Response(await run_in_threadpool(self.studio.thumbnail, number), media_type="image/jpeg")

    async def documents(self, request: Request) -> Response:
        opened = [{"document": each.key, "name": each.name} for each in self.studio.documents.values()]
        saved = [name for name in self.studio.saved_projects() if name not in {each["name"] for each in opened}]
        return JSONResponse({"open": opened, "saved": saved})

    async def open(self, request: Request) -> Response:
        given, studio = await _json(request), self.studio
        notes: list[str] = []
        if "input" in given:
            document = await run_in_threadpool(studio.open_input, _number(given["input"], "input"))
        elif "project" in given:
            saved = studio.saved_projects()
            if given["project"] not in saved:
                raise UserError(f"there is no project {given['project']!r} in the output folder", path="project")
            document, notes = await run_in_threadpool(studio.open_saved, given["project"])
        elif isinstance(blank := given.get("blank"), dict):
            numbers = [_number(blank.get(name), f"blank.{name}") for name in ("width", "height", "class")]
            document = await run_in_threadpool(studio.open_blank, *numbers)
        else:
            raise UserError("give input, blank or project", path="document")
        return JSONResponse({**self._facts(document), "notes": notes}, 201)

    async def open_file(self, request: Request) -> Response:
        name = request.query_params.get("name", "project")
        document, notes = await run_in_threadpool(self.studio.open_project, name, await request.body())
        return JSONResponse({**self._facts(document), "notes": notes}, 201)

    async def document(self, request: Request) -> Response:
        return JSONResponse(self._facts(self._document(request)))

    async def layers(self, request: Request) -> Response:
        data, revision = await run_in_threadpool(self._document(request).packed)
        return Response(data, headers={"X-Revision": str(revision)}, media_type="application/octet-stream")

    async def patch(self, request: Request) -> Response:
        document = self._document(request)
        base, *box = (_whole(request, name) for name in ("base", "x", "y", "w", "h"))
        data = await request.body()
        revision = await run_in_threadpool(document.replace, base, (box[0], box[1], box[2], box[3]), data)
        return JSONResponse({"revision": revision, "problem": self.studio.problem})

    async def upload(self, request: Request) -> Response:
        document, query = self._document(request), request.query_params
        name, layer = query.get("name", "the file"), query.get("layer", "")
        revision = await run_in_threadpool(self.studio.upload, document, layer, name, await request.body())
        return JSONResponse({"revision": revision})

    async def style(self, request: Request) -> Response:
        document, given = self._document(request), await _json(request)
        seed = _number(given.get("seed", document.seed), "seed")
        style = given.get("style", document.style)
        return JSONResponse({"revision": await run_in_threadpool(self.studio.set_style, document, style, seed)})

    async def encode(self, request: Request) -> Response:
        document, name = self._document(request), request.query_params.get("name", "the photo")
        data = await request.body()
        future = self.studio.worker.every(lambda: self.studio.encode(document.state(), name, data))
        return JSONResponse(await asyncio.wrap_future(future))

    async def objects(self, request: Request) -> Response:
        state = self._document(request).state()
        return JSONResponse({"objects": await run_in_threadpool(self.studio.objects, state)})

    async def picture(self, request: Request) -> Response:
        document, given = self._document(request), await _json(request)
        variant = None if given.get("seed") is None else _number(given["seed"], "seed")
        ending = given.get("format", "rgb")
        if ending not in ("rgb", "png", "jpg"):
            raise UserError(f"there is no format {ending!r}; there are rgb, png, jpg", path="picture")
        worker, studio = self.studio.worker, self.studio

        def make() -> Answer:
            return studio.picture(document.state(), variant)

        future = worker.newest(document.key, make) if variant is None else worker.every(make)
        answer: Answer = await asyncio.wrap_future(future)

        def body() -> tuple[bytes, int, int]:
            rgb = studio.as_rgb(answer.picture)
            return rgb.tobytes() if ending == "rgb" else encoded(f".{ending}", rgb), rgb.shape[1], rgb.shape[0]

        data, width, height = await run_in_threadpool(body)
        headers = {
            "X-Size": f"{width},{height}",
            "X-Revision": str(answer.revision),
            "X-Milliseconds": f"{answer.milliseconds:.1f}",
        }
        kind = {"rgb": "application/octet-stream", "png": "image/png", "jpg": "image/jpeg"}[ending]
        return Response(data, headers=headers, media_type=kind)

    async def export(self, request: Request) -> Response:
        document, what = self._document(request), request.query_params.get("what", "")
        name, data = await run_in_threadpool(self._exported, document, what)
        return _download(name, data)

    def _exported(self, document: Document, what: str) -> tuple[str, bytes]:
        """Return name and bytes of a file to download."""
        studio, state = self.studio, document.state()
        if what == "project":
            return studio.project_file(document)
        if what == "picture":
            answer = studio.worker.every(lambda: studio.picture(state)).result()
            form = studio.translator.data.result(studio.translator.target)
            channels = 0 if answer.picture.ndim == 2 else form.size or 0
            name = f"{document.name}.{file_ending(channels, 'png')}"
            return name, encode_result(Path(name), answer.picture)
        if what == "style" and state.style is not None:
            return f"{document.name}-style.json", json.dumps(state.style).encode()
        if what in state.layers:
            ending, data = studio.layers[what].file(state.layers[what])
            return f"{document.name}-{what}{ending}", data
        allowed = ["picture", "project", *state.layers, *(["style"] if state.style is not None else [])]
        raise UserError(f"there is nothing called {what!r} to export; there are {', '.join(allowed)}", path="export")

    def _document(self, request: Request) -> Document:
        document = self.studio.documents.get(request.path_params["key"])
        if document is None:
            raise HTTPException(404, "this document is not open any more; open it again")
        return document

    def _facts(self, document: Document) -> dict[str, Any]:
        width, height = document.size
        return {
            "document": document.key,
            "name": document.name,
            "width": width,
            "height": height,
            "revision": document.revision,
            "saved": document.saved,
            "layers": list(document.arrays),
            "things": document.things,
            "style": document.style,
            "seed": document.seed,
            "problem": self.studio.problem,
        }


def _download(name: str, data: bytes) -> Response:
    """Return a file; its name has letters that are safe in a header (`file_name`), or is encoded."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(data, headers=headers, media_type="application/octet-stream")


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        values = json.loads(body) if len(body) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UserError("the body is no JSON object", path="request")
    return values


def _number(value: object, name: str) -> int:
    """Return a whole number of a request; raise UserError for anything else."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UserError(f"is {value!r}; a whole number is expected", path=name)


def _whole(request: Request, name: str, default: int | None = None) -> int:
    value = request.query_params.get(name)
    return default if value is None and default is not None else _number(value, name)
