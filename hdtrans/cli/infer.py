"""`hdtrans infer RUN_OR_CHECKPOINT --input ... --out DIR`: translate a folder with a trained model."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and translate; return 1 if some inputs failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans infer",
        description="Translate label maps, or pictures, of any size. All that is known of the model stands in its "
        "checkpoint. Inputs whose picture is there already are passed over, so the command can be run again.",
    )
    parser.add_argument("model", type=Path, help="a run folder (its latest checkpoint is taken) or a checkpoint file")
    parser.add_argument(
        "--input",
        "--labels",
        nargs="+",
        required=True,
        metavar="INPUT",
        help="a folder; or files, patterns ('maps/*.png'), lists (@FILE, one name a line), - for a list on stdin",
    )
    parser.add_argument(
        "--instances",
        type=Path,
        help="their instance maps, where the model needs them; unset: INPUT with _inst for _label at its end",
    )
    parser.add_argument("--truth", type=Path, help="the true pictures, to show beside the results")
    parser.add_argument("--out", type=Path, required=True, help="where pictures and index.html go")
    parser.add_argument("--format", choices=("png", "jpg"), default="png", help="of the pictures (default: png)")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="of each channel (default: 8)")
    parser.add_argument("--direction", default="", help="AtoB or BtoA, where the model has both (default: AtoB)")
    parser.add_argument(
        "--ready",
        action="store_true",
        help="the inputs are what goes into the model: no photos to make edges or small pictures from, no two sides",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise, where the model has some (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16", "fp64"), default="auto")
    parser.add_argument("--no-ema", action="store_true", help="use the last weights instead of their average")
    parser.add_argument("--batch-size", type=int, default=1, help="inputs of one size translated at once (default: 1)")
    parser.add_argument("--video", type=float, metavar="FPS", help="also make DIR/video.mp4 of all results, in order")
    given = parser.parse_args(arguments)

    if given.batch_size < 1:
        parser.error(f"--batch-size {given.batch_size}: must be 1 or more")
    if given.video is not None and not 1 <= given.video <= 1000:
        parser.error(f"--video {given.video:g}: frames per second are from 1 to 1000")

    from hdtrans.engine.distributed import start_processes
    from hdtrans.inference.files import Folders, find_inputs
    from hdtrans.inference.folder import translate_folder
    from hdtrans.inference.translator import Translator

    inputs = find_inputs(given.input)
    folders = Folders(
        inputs, given.instances, given.truth, given.out, given.seed, given.ready, given.format, given.bits
    )
    folders.check()
    with start_processes(given.device) as processes:
        translator = Translator.load(given.model, str(processes.device), given.dtype, not given.no_ema, given.direction)
        report = translate_folder(translator, folders, given.batch_size, given.video, processes)
    if processes.first:
        print(report.text())
    return 1 if report.failed and processes.first else 0
