"""`hdtrans encode_styles RUN_OR_CHECKPOINT`: cluster what the objects of the training pictures look like."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, encode and cluster; return 0."""
    parser = argparse.ArgumentParser(
        prog="hdtrans encode_styles",
        description="Run the encoder of a model over its training pictures and cluster the features of their objects, "
        "class by class. The clusters are stored beside the checkpoint, where infer, export and the Translator find "
        "them; a page shows them. torchrun shares the pictures.",
    )
    parser.add_argument("model", type=Path, help="a run folder (its latest checkpoint is taken) or a checkpoint file")
    parser.add_argument("--clusters", type=int, default=10, help="of each class, at most (default: 10)")
    parser.add_argument(
        "--min-area",
        type=float,
        default=1 / 64,
        metavar="SHARE",
        help="objects count from this share of their picture on (default: 1/64); where a class has none such, all do",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the clustering (default: 0)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the training folder, if it is no longer data.root")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--no-ema", action="store_true", help="use the last weights instead of their average")
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
