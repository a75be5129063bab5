"""`hdtrans evaluate RUN_OR_CHECKPOINT_OR_FOLDER --truth DIR`: score pictures with metrics."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hdtrans.cli.flags import flags

SPELLING = flags({"target": "TARGET", "extra": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and score; return 1 if a picture could not be scored, else 0."""
    from hdtrans.api import evaluate_given
    from hdtrans.evaluation.options import add_options
    from hdtrans.evaluation.report.scores import report_text

    parser = argparse.ArgumentParser(
        prog="hdtrans evaluate",
        description="Score pictures against the true ones. For a run, its test files are translated first.",
    )
    parser.add_argument("target", type=Path, help="folder of pictures, run, RUN/best or checkpoint file")
    add_options(parser)
    model = parser.add_argument_group("for a run or checkpoint")
    model.add_argument(
        "--data", type=Path, metavar="DIR", help="training folder, if it has moved (the recipe's data.root)"
    )
    model.add_argument("--split", help="files to translate: test, train, validation, ... (the recipe's data.test)")
    model.add_argument("--pictures", type=Path, metavar="DIR", help="folder of the results (beside --out)")
    model.add_argument("--direction", default="", help="AtoB or BtoA, for a model with both")
    model.add_argument("--style", help="style features, as in hdtrans infer (mean)")
    model.add_argument("--seed", type=int, default=0, help="seed of noise and of --style sample (0)")
    model.add_argument("--no-ema", action="store_true", help="use the last weights, not their average")
    given = parser.parse_args(arguments)

    values = evaluate_given(given, print)
    print(report_text(values, given.out))
    return 1 if values["left_out"]["pictures"] else 0
