"""Train, open and score runs from Python: what the commands `train` and `evaluate` do, as functions.

Rooms below know nothing of each other here: training gets its judges from `evaluation`, a run its translator from
`inference`, and a run that is scored is translated first.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.folder_lock import FolderLock
from hdtrans.common.yaml_text import read_yaml
from hdtrans.config.loading import load_recipe
from hdtrans.config.recipe import Recipe, check_recipe
from hdtrans.config.stage import read_size
from hdtrans.engine.checkpoint import Checkpoints, find_checkpoint
from hdtrans.engine.run import train as train_recipe
from hdtrans.evaluation.options import folder_places, make_metrics
from hdtrans.evaluation.pairs import Places
from hdtrans.evaluation.report.scores import report, write_report
from hdtrans.evaluation.run_files import run_files
from hdtrans.evaluation.scoring import score
from hdtrans.evaluation.validation import make_judge
from hdtrans.inference.folder.files import Folders
from hdtrans.inference.folder.translate import translate_folder
from hdtrans.inference.run_data import current_data
from hdtrans.inference.translator import Translator

Known = tuple[Places, ClassTable | None, dict[str, Any], Callable[[], str]]


class Run:
    """A run folder: its recipe, its checkpoints, and a translator of its model.

    Example: `Run("runs/city").translator()(label)`.

    Attributes:
        folder: the run folder; it need not have a checkpoint yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def recipe(self) -> Recipe:
        """The recipe with all defaults filled in, as the run was started or last continued."""
        file = self.folder / "recipe.yaml"
        return check_recipe(read_yaml(file.read_text(encoding="utf-8"), str(file)), str(file))

    @property
    def checkpoint(self) -> Path:
        """The latest checkpoint; raises UserError where the run has saved none yet."""
        return find_checkpoint(self.folder)

    @property
    def best(self) -> Path | None:
        """The best checkpoint by the recipe's `validate.best`, or None."""
        return next(iter(Checkpoints(self.folder, keep=2).best()), None)

    @property
    def images_seen(self) -> int:
        """Images trained on until the latest checkpoint; 0 where the run has saved none yet."""
        return Checkpoints(self.folder, keep=2).images_seen()

    @property
    def page(self) -> Path:
        """The report: curves, sample pictures, figures and recipe on one HTML page."""
        return self.folder / "index.html"

    def translator(self, checkpoint: Path | None = None, **options: Any) -> Translator:
        """Load the model.

        Args:
            checkpoint: checkpoint file; unset, the latest of the run.
            options: `device`, `dtype` and the others of `Translator.load`.
        """
        return Translator.load(checkpoint or self.checkpoint, **options)


def train(recipe: str | Path | Recipe, /, overrides: Sequence[str] = (), **sections: Any) -> Run:
    """Train a recipe, or continue its run; return the run.

    Example: `train("pix2pixhd_labels", data={"root": "my/folder", "labels": 20}, out="runs/mine")`.

    Args:
        recipe: YAML file, name of a recipe that comes with the package, or a recipe.
        overrides: texts `section.key=value`, applied last.
        sections: nested values merged into the recipe's; see `load_recipe`.

    Raises:
        UserError: the recipe, its data or its run folder cannot be used.
        NonFiniteError: a loss or a weight became NaN or infinite.
        Stopped: a signal ended training; the state is saved.
    """
    return Run(train_recipe(load_recipe(recipe, overrides, **sections), make_judge))


def evaluate(
    target: str | Path | Run,
    *,
    data: str | Path | None = None,
    truth: str | Path | None = None,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    results: str | None = None,
    unpaired: bool = False,
    resize: str | None = None,
    tolerance: float = 2.0,
    segmenter: str | Path | None = None,
    segmenter_input: str = "imagenet",
    trust: bool = False,
    protocol: str = "labels",
    weights: Sequence[str | Path] = (),
    download: bool = False,
    lpips: str = "alex",
    cache: str | Path | None = None,
    device: str = "auto",
    split: str | None = None,
    pictures: str | Path | None = None,
    direction: str = "",
    style: str | None = None,
    seed: int = 0,
    no_ema: bool = False,
) -> dict[str, Any]:
    """Score a folder of pictures, or translate and score the test files of a run; write the report and return it.

    `hdtrans evaluate` explains the arguments; it has an option for each. The report holds plain values: `figures`,
    `pictures`, `model`, `metrics`, `left_out` with the pictures that could not be scored, `warnings`.

    Example: `evaluate("runs/city", metrics=["psnr", "ssim"])["figures"]["psnr"]`.

    Raises:
        UserError: a metric does not fit what is scored or lacks what it needs, or no picture can be scored.
    """
    given = SimpleNamespace(**locals())
    given.target = target.folder if isinstance(target, Run) else Path(target)
    for name in ("data", "truth", "labels", "out", "segmenter", "cache", "pictures"):
        value = getattr(given, name)
        setattr(given, name, None if value is None else Path(value))
    given.weights = [Path(path) for path in weights]
    given.metrics = None if metrics is None else list(metrics)
    return evaluate_given(given)


def evaluate_given(given: Any, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Score what the arguments of `evaluate` name; `given.out` is filled in where it is None.

    Args:
        given: object with an attribute for each argument, as a parsed command line.
        say: takes the summary of a run's translated pictures.
    """
    folder = given.target if given.target.is_dir() else given.target.parent  # RUN, or RUN/best
    is_run = given.target.is_file() or (folder / "checkpoints").is_dir()
    places, classes, model, translate = _of_run(given) if is_run else (*folder_places(given), lambda: "")
    if given.data is not None and not is_run:
        raise UserError("is for a run, and this is a folder of pictures", argument="data", path=given.data)
    places = replace(
        places,
        truth=given.truth or places.truth,
        data=None if given.truth else places.data,
        labels=given.labels or places.labels,
        resize=None if given.resize is None else read_size(given.resize, "resize"),
    )
    places, metrics = make_metrics(given, places, classes)
    if is_run:
        say(translate())
    values = report(score(places, metrics), metrics, places, model, given.out)
    write_report(given.out, values)
    return values


def _of_run(given: Any) -> Known:
    """Return the places to score, the classes, the facts on the model, and a function that translates its inputs."""
    checkpoint = find_checkpoint(given.target)
    translator = Translator.load(checkpoint, given.device, "auto", not given.no_ema, given.direction)
    split = given.split or translator.recipe.data.test
    style = (given.style or "").partition("=")[0]
    name = "_".join(part for part in (checkpoint.stem, split, translator.direction, style) if part)
    given.out = given.out or checkpoint.parent.parent / "evaluation" / f"{name}.json"
    out = given.pictures or given.out.with_suffix("")
    data = current_data(translator, checkpoint, given.data)
    files = run_files(data, translator.inputs, translator.direction, split, out)
    folders = Folders(files.inputs, files.extra, None, out, given.seed, style=given.style)
    folders.check()
    model = {"checkpoint": str(checkpoint), "recipe": translator.recipe.name, "images_seen": translator.images_seen}
    seed = given.seed if translator.noisy or style == "sample" else None
    model |= {"weights": translator.weights, "split": split, "seed": seed, **({"style": given.style} if style else {})}
    moved = [] if data.root == translator.data.root else [f"data: {data.root}"]

    def translate() -> str:
        with FolderLock(out, "pictures"):
            return "\n".join([*moved, translate_folder(translator, folders).text()])

    return files.places, translator.classes, model, translate
