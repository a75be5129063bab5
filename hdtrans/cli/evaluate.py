"""`hdtrans evaluate RUN_OR_CHECKPOINT_OR_FOLDER --truth DIR`: say with numbers how good pictures are."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and score; return 1 if some pictures could not be scored, else 0."""
    from hdtrans.api import evaluate_given
    from hdtrans.evaluation.options import add_options
    from hdtrans.evaluation.report.scores import report_text

    parser = argparse.ArgumentParser(
        prog="hdtrans evaluate",
        description="Score pictures against the true ones. Of a run, its test files are translated first.",
    )
    parser.add_argument("target", type=Path, help="a folder of pictures; or a run, RUN/best or a checkpoint file")
    add_options(parser)
    model = parser.add_argument_group("of a run or checkpoint")
    model.add_argument("--split", help="the files to translate: test, train, validation, ... (the recipe's data.test)")
    model.add_argument("--pictures", type=Path, metavar="DIR", help="where its pictures go (beside --out)")
    model.add_argument("--direction", default="", help="AtoB or BtoA, where the model has both")
    model.add_argument("--style", help="of a model with features, as of hdtrans infer (mean)")
    model.add_argument("--seed", type=int, default=0, help="of noise and of --style sample (0)")
    model.add_argument("--no-ema", action="store_true", help="use the last weights instead of their average")
    given = parser.parse_args(arguments)

    values = evaluate_given(given, print)
    print(report_text(values, given.out))
    return 1 if values["left_out"]["pictures"] else 0
