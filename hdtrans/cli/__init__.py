"""The commands: one file each; `hdtrans X`, `python -m hdtrans X` and `tools/X.py` are the same thing."""

import importlib
import os
import sys
from collections.abc import Sequence

from hdtrans.common.errors import nearest
from hdtrans.common.versions import check_versions

COMMANDS = {
    "prepare": "make a training folder from annotations in any usual format",
    "check_data": "read all data of a recipe or folder and tell what is wrong with them",
    "train": "train a recipe, or continue its run",
    "infer": "translate a folder of label maps or pictures with a trained run",
    "encode_styles": "cluster what objects of the training pictures look like, for infer --style",
    "evaluate": "score pictures, or a trained run, against the true ones",
    "compare": "put runs side by side on one page: pictures, figures, losses, recipes",
    "export": "publish a model as .safetensors, .onnx or .pt2",
    "convert_checkpoint": "bring in weights of pix2pixHD, pix2pix and CycleGAN, or write ours as theirs",
    "train_segmenter": "train the network that judges generated pictures",
    "colorize_labels": "make label maps visible, with a legend",
    "benchmark": "measure speed and memory on this machine",
    "make_toycity": "render toy street scenes with label and instance maps",
}


def run_tool(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 some inputs failed or a process was lost, 2 wrong input, 3 not finite, 128+n after signal n. What a user
    got wrong is printed without a traceback, by one process.
    """
    try:
        check_versions()
        module = importlib.import_module(f"hdtrans.cli.{name}")
        return int(module.main(arguments))
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        if not getattr(error, "told", os.environ.get("RANK", "0") != "0"):
            print(f"hdtrans {name}: {error}", file=sys.stderr)
        return int(code)
    except KeyboardInterrupt:
        return 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hdtrans COMMAND ...`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0].replace("-", "_") if given else ""
    if name in COMMANDS:
        return run_tool(name, given[1:])
    lines = [f"  {command:<18} {what}" for command, what in COMMANDS.items()]
    usage = "\n".join(["usage: hdtrans COMMAND ...", "", *lines, "", "hdtrans COMMAND --help says more of each."])
    if name in ("__help", "_h", ""):
        print(usage)
        return 0 if name else 2
    print(f"hdtrans: there is no command {given[0]!r}.{nearest(name, COMMANDS)}\n{usage}", file=sys.stderr)
    return 2
