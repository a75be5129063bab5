"""`hdtrans evaluate RUN_OR_CHECKPOINT_OR_FOLDER --truth DIR`: score pictures with metrics."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdtrans.common.classes import ClassTable
    from hdtrans.evaluation.pairs import Places

Known = tuple["Places", "ClassTable | None", dict[str, Any], Callable[[], None]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and score; return 1 if a picture could not be scored, else 0."""
    from hdtrans.evaluation.options import add_options, folder_places, make_metrics, read_size
    from hdtrans.evaluation.report.scores import report, report_text, write_report
    from hdtrans.evaluation.scoring import score

    parser = argparse.ArgumentParser(
        prog="hdtrans evaluate",
        description="Score pictures against the true ones. For a run, its test files are translated first.",
    )
    parser.add_argument("target", type=Path, help="folder of pictures, run, RUN/best or checkpoint file")
    add_options(parser)
    model = parser.add_argument_group("for a run or checkpoint")
    model.add_argument("--split", help="files to translate: test, train, validation, ... (the recipe's data.test)")
    model.add_argument("--pictures", type=Path, metavar="DIR", help="folder of the results (beside --out)")
    model.add_argument("--direction", default="", help="AtoB or BtoA, for a model with both")
    model.add_argument("--style", help="style features, as in hdtrans infer (mean)")
    model.add_argument("--seed", type=int, default=0, help="seed of noise and of --style sample (0)")
    model.add_argument("--no-ema", action="store_true", help="use the last weights, not their average")
    given = parser.parse_args(arguments)

    folder = given.target if given.target.is_dir() else given.target.parent  # RUN, or RUN/best
    is_run = given.target.is_file() or (folder / "checkpoints").is_dir()
    places, classes, model_facts, translate = _of_run(given) if is_run else (*folder_places(given), lambda: None)
    places = replace(
        places,
        truth=given.truth or places.truth,
        data=None if given.truth else places.data,
        labels=given.labels or places.labels,
        resize=read_size(given.resize),
    )
    places, metrics = make_metrics(given, places, classes)
    translate()
    scores = score(places, metrics)
    values = report(scores, metrics, places, model_facts)
    write_report(given.out, values)
    print(report_text(values, given.out))
    return 1 if scores.failed else 0


def _of_run(given: Any) -> Known:
    """Return places, classes, provenance of the model, and a call that translates the files."""
    from hdtrans.engine.checkpoint import find_checkpoint
    from hdtrans.evaluation.run_files import run_files
    from hdtrans.inference.folder.files import Folders
    from hdtrans.inference.folder.translate import translate_folder
    from hdtrans.inference.translator import Translator

    checkpoint = find_checkpoint(given.target)
    translator = Translator.load(checkpoint, given.device, "auto", not given.no_ema, given.direction)
    split = given.split or translator.recipe.data.test
    style = (given.style or "").partition("=")[0]
    name = "_".join(part for part in (checkpoint.stem, split, translator.route, style) if part)
    given.out = given.out or checkpoint.parent.parent / "evaluation" / f"{name}.json"
    out = given.pictures or given.out.with_suffix("")
    files = run_files(translator.recipe.data, translator.reads, translator.route, split, out)
    folders = Folders(files.inputs, files.instances, None, out, given.seed, style=given.style)
    folders.check()
    facts = {"checkpoint": str(checkpoint), "recipe": translator.recipe.name, "images_seen": translator.images_seen}
    seed = given.seed if translator.noisy or style == "sample" else None
    facts |= {"weights": translator.weights, "split": split, "seed": seed, **({"style": given.style} if style else {})}
    return files.places, translator.classes, facts, lambda: print(translate_folder(translator, folders).text())
