"""Commands, one file each. `hdtrans X`, `python -m hdtrans X` and `tools/X.py` run the same one."""

import importlib
import os
import sys
from collections.abc import Sequence

from hdtrans.cli.flags import flags
from hdtrans.common.errors import UserError, nearest
from hdtrans.common.files import of_the_system
from hdtrans.common.remarks import printed_remarks
from hdtrans.common.streams import lost_output, make_lasting

COMMANDS = {
    "demo": "train a small model on toy street scenes and translate some, in ten minutes without a GPU",
    "prepare": "make a training folder from annotations in any usual format",
    "check_data": "check all data of a recipe or folder and report every problem",
    "train": "train a recipe, or continue its run",
    "infer": "translate a folder of label maps or pictures with a trained run",
    "edit": "paint inputs of a trained run in the browser and see the pictures",
    "encode_styles": "cluster the styles of objects in the training pictures, for infer --style",
    "evaluate": "score pictures, or a trained run, against true pictures",
    "compare": "compare runs on one page: pictures, figures, losses, recipes",
    "export": "publish a model as .safetensors, .onnx or .pt2",
    "convert_checkpoint": "convert weights of the original pix2pixHD, pix2pix and CycleGAN to ours, or back",
    "train_segmenter": "train a segmentation network that scores generated pictures",
    "colorize_labels": "colour label maps, with a legend",
    "benchmark": "measure speed and memory on this machine",
    "make_toycity": "render toy street scenes with label and instance maps",
}


def run_tool(name: str, arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 some inputs failed or a process was lost, 2 wrong input, 3 not finite, 128+n after signal n. One process
    prints a user's mistake, without a traceback and in the words of the command: its module's `SPELLING`, if any. No
    command ends because of its standard streams; output that a full disk swallowed makes a 0 a 1.
    """
    from hdtrans.common.cores import choose_threads
    from hdtrans.common.versions import check_versions

    choose_threads()
    spelling = flags()
    make_lasting()
    try:
        check_versions()
        module = importlib.import_module(f"hdtrans.cli.{name}")
        spelling = getattr(module, "SPELLING", spelling)
        with printed_remarks():
            done = int(module.main(arguments))
        return done or int(lost_output(f"hdtrans {name}"))
    except Exception as raised:
        error = of_the_system(raised)
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        if not getattr(error, "reported", os.environ.get("RANK", "0") != "0"):
            message = error.text(spelling) if isinstance(error, UserError) else str(error)
            print(f"hdtrans {name}: {message}", file=sys.stderr)
        return int(code)
    except KeyboardInterrupt:
        return 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hdtrans COMMAND ...`."""
    make_lasting()
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0].replace("-", "_") if given else ""
    if name in COMMANDS:
        return run_tool(name, given[1:])
    lines = "\n".join(f"  {command:<18} {what}" for command, what in COMMANDS.items())
    usage = f"usage: hdtrans COMMAND ...\n\n{lines}\n\n`hdtrans COMMAND --help` lists the options of one."
    if name in ("__help", "_h", ""):
        print(usage)
        return 0 if name else 2
    print(f"hdtrans: there is no command {given[0]!r}.{nearest(name, COMMANDS)}\n{usage}", file=sys.stderr)
    return 2
