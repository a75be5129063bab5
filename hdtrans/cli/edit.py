"""`hdtrans edit RUN_OR_CHECKPOINT [--input DIR] [--out DIR]`: paint inputs in the browser and see the pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags
from hdtrans.cli.infer import SPELLING as INFER_SPELLING
from hdtrans.inference.folder.options import add_computing, add_further_inputs, add_model

SPELLING = flags({"inputs": "--input", "extra": "--with", "model": "MODEL"})
_REPEATED = ("direction", "dtype", "max_memory")  # options that a project's command of infer repeats


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve the editor until Ctrl-C; return 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans edit",
        description="Paint label maps, or drawings, in the browser and see the picture of a trained model beside them. "
        "The page is served on this machine alone (127.0.0.1), and documents are saved by themselves.",
    )
    add_model(parser)
    group = parser.add_argument_group("inputs and results")
    group.add_argument(
        "--input",
        nargs="+",
        metavar="INPUT",
        help="inputs to choose from: folder, files, patterns or lists as of infer",
    )
    add_further_inputs(group)
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the projects (default: edit_ and MODEL's name)"
    )
    group.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: 0, a free one)")
    group.add_argument("--no-browser", action="store_true", help="print the page's address without opening it")
    add_computing(parser.add_argument_group("computing"))
    given = parser.parse_args(arguments)
    out = given.out or Path(f"edit_{given.model.resolve().stem}")

    from hdtrans.common.errors import MissingPackage
    from hdtrans.common.sizes import read_bytes
    from hdtrans.inference.folder.files import Folders, find_inputs
    from hdtrans.inference.translator import Translator

    try:
        from hdtrans.edit.server import serve
        from hdtrans.edit.studio import Options
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingPackage(error.name, "edit", "the editor") from None

    folders = None
    if given.input:
        extra = given.extra | ({"instance": given.instances} if given.instances else {})
        folders = Folders(find_inputs(given.input), extra, None, out, ready=given.ready)
        folders.check()
    translator = Translator.load(
        given.model,
        given.device,
        given.dtype,
        averaged=not given.no_ema,
        direction=given.direction,
        max_memory=None if given.max_memory is None else read_bytes(given.max_memory, "max_memory"),
        trust=given.trust,
    )
    if translator.precision.remark:
        print(f"note: {translator.precision.remark}", file=sys.stderr)
    serve(translator, Options(out, folders, _command(given), INFER_SPELLING), given.port, not given.no_browser)
    return 0


def _command(given: argparse.Namespace) -> list[str]:
    """Return the words of `hdtrans infer` with the model and the options that the editor was given."""
    words = ["hdtrans", "infer", str(given.model.resolve())]
    for name in _REPEATED:
        words += [f"--{name.replace('_', '-')}", str(getattr(given, name))] if getattr(given, name) else []
    return words + [f"--{name.replace('_', '-')}" for name in ("no_ema", "trust") if getattr(given, name)]
