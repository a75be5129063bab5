"""`hdtrans encode_styles RUN_OR_CHECKPOINT`: cluster the style features of training objects."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, encode and cluster; return 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans encode_styles",
        description="Run the encoder of a model over its training pictures and cluster the features of their objects "
        "by class. The clusters are stored beside the checkpoint, where infer, export and the Translator find them; a "
        "page shows them. Under torchrun, processes share the pictures.",
    )
    parser.add_argument("model", type=Path, help="run folder (its latest checkpoint is used) or checkpoint")
    parser.add_argument("--clusters", type=int, default=10, help="clusters of each class, at most (default: 10)")
    parser.add_argument(
        "--min-area",
        type=float,
        default=1 / 64,
        metavar="SHARE",
        help="least share of its picture that an object covers to be counted (default: 1/64); a class without such "
        "objects counts all",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the clustering (default: 0)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="training folder (default: data.root of the recipe)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--no-ema", action="store_true", help="use the last weights instead of averaged ones")
    given = parser.parse_args(arguments)

    from hdtrans.engine.checkpoint import find_checkpoint
    from hdtrans.engine.distributed import start_processes
    from hdtrans.inference.styles.encode import Options, encode_styles
    from hdtrans.inference.translator import Translator

    checkpoint = find_checkpoint(given.model)
    with start_processes(given.device) as processes:
        translator = Translator.load(checkpoint, str(processes.device), "fp32", averaged=not given.no_ema)
        options = Options(given.clusters, given.min_area, given.seed)
        lines = encode_styles(translator, checkpoint, options, given.data, processes)
    if processes.first:
        print("\n".join(lines))
    return 0
