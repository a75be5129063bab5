"""`hdtrans infer RUN_OR_CHECKPOINT --input ... --out DIR`: translate a folder with a trained model."""

import argparse
import sys
from collections.abc import Sequence

from hdtrans.cli.flags import flags
from hdtrans.inference.folder.options import add_options

SPELLING = flags({"inputs": "--input", "extra": "--with", "ending": "--format", "compiled": "--compile"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and translate; return 1 if some inputs failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans infer",
        description="Translate label maps, or pictures, of any size. Everything about the model comes from its "
        "checkpoint. Finished inputs are skipped, so the same command continues an interrupted one.",
    )
    add_options(parser)
    given = parser.parse_args(arguments)

    from hdtrans.common.sizes import read_bytes
    from hdtrans.engine.distributed import start_processes
    from hdtrans.inference.folder.files import Folders, find_inputs
    from hdtrans.inference.folder.translate import translate_folder
    from hdtrans.inference.translator import Translator

    folders = Folders(
        find_inputs(given.input),
        given.extra | ({"instance": given.instances} if given.instances else {}),
        given.truth,
        given.out,
        given.seed,
        given.ready,
        given.format,
        given.bits,
        given.style,
        given.num_samples,
    )
    folders.check()
    with start_processes(given.device) as processes, processes.owning(given.out):
        translator = Translator.load(
            given.model,
            str(processes.device),
            given.dtype,
            averaged=not given.no_ema,
            direction=given.direction,
            max_memory=None if given.max_memory is None else read_bytes(given.max_memory, "max_memory"),
            compiled=given.compile,
            trust=given.trust,
        )
        notes = [translator.precision.remark]
        if given.compile and translator.device.type == "cpu":
            notes += ["--compile: on a CPU it is faster without, since weights are then packed for the processor"]
        for note in notes if processes.first else []:
            if note:
                print(f"note: {note}", file=sys.stderr)
        report = translate_folder(translator, folders, given.batch_size, given.video, processes)
    if processes.first:
        print(report.text(SPELLING))
    return 1 if report.failed and processes.first else 0
