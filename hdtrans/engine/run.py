"""Train a recipe: find the data, build the networks, continue or start a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

import hdtrans
from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import UserError
from hdtrans.common.freed_memory import keep_freed_memory
from hdtrans.config.recipe import Recipe
from hdtrans.config.registry import method_module
from hdtrans.config.stage import Stage
from hdtrans.config.validation import Validate
from hdtrans.data.batch import Batch, Sample, collate
from hdtrans.data.dataset import EvalDataset, TrainingSamples
from hdtrans.data.folders import SampleFiles, find_samples
from hdtrans.data.geometry import Geometry
from hdtrans.data.holdout import hold_back
from hdtrans.data.index import Index
from hdtrans.data.kinds.base import PHOTO, DataKind, data_of
from hdtrans.data.preflight import BadFiles, class_table, preflight
from hdtrans.engine import checkpoint
from hdtrans.engine.distributed import Processes, start_processes
from hdtrans.engine.hooks import Preview, Save
from hdtrans.engine.initial import initialise_from
from hdtrans.engine.machine import machine_change, this_machine
from hdtrans.engine.optim import stage_images
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.run_folder import open_run_dir
from hdtrans.engine.trainer import Trainer
from hdtrans.engine.training_files import TrainingFiles
from hdtrans.engine.validation import Judge, Validation


@dataclass(frozen=True)
class Found:
    """Findings of rank 0 before the first step, for all processes.

    Attributes:
        files: training files.
        preview_files: files of the sample grids.
        validation_files: files of the validation.
        classes: names and colours of the classes; None without label maps.
        folder: run folder.
        resume: checkpoint from which the run continues; None for a new run.
        warnings: messages for the user.
    """

    files: list[SampleFiles]
    preview_files: list[SampleFiles]
    validation_files: list[SampleFiles]
    classes: ClassTable | None
    folder: Path
    resume: Path | None
    warnings: list[str]


MakeJudge = Callable[[Validate, DataKind, ClassTable | None, torch.device], Judge]


def train(recipe: Recipe, make_judge: MakeJudge | None = None) -> Path:
    """Train a recipe, or continue its run; return the run folder. Errors: see `Trainer.run`.

    Args:
        recipe: recipe, complete.
        make_judge: makes the metrics of the recipe's section `validate`; required if it has one.
    """
    timeouts = recipe.training.timeouts
    keep_freed_memory()
    with (
        start_processes(recipe.training.device, timeouts.step, timeouts.pause) as processes,
        processes.owning(recipe.folder) as verify,
    ):
        found: Found = processes.on_first(lambda: _find(recipe))
        module = method_module(recipe.method.kind)
        networks = module.build_networks(recipe.method, recipe.data, recipe.training.seed)
        state = None if found.resume is None else _read(found.resume, processes, len(found.files))
        initialised = ""
        if state is None and recipe.init_from is not None:
            axes = getattr(module, "class_axes", None)
            find = axes and (lambda: axes(recipe.method, recipe.data, networks))
            initialised = initialise_from(networks, Path(recipe.init_from), found.classes, find)
        machine = this_machine(processes.device)
        changed = machine_change(None if state is None else state.get("machine"), machine)
        stages, kept = keep_global_batches(recipe.stages, state, processes.world)
        reporter = _reporter(recipe, stages, found, state, processes)
        trainer = Trainer(
            networks,
            lambda stage: module.build(recipe.method, recipe.data, stage, networks),
            lambda number: _samples(recipe, found, number),
            stages,
            recipe.training,
            processes,
            reporter,
            Save(checkpoint.Checkpoints(found.folder, recipe.training.keep), _identity(recipe, found, machine), verify),
            Preview(lambda number: _preview_batches(recipe, found, number), found.classes, data_of(recipe).viewable),
            processes.agree(lambda: _validation(recipe, found, processes.device, make_judge)),
        )
        if reporter is not None:
            greeting = _greeting(found, state)
            for line in [*found.warnings, trainer.precision.remark, initialised, greeting, kept, changed]:
                if line:
                    reporter.message(line)
        if state is not None:
            trainer.restore(state)
        try:
            trainer.run()
        finally:
            if reporter is not None:
                reporter.close()
        return found.folder


def keep_global_batches(stages: Sequence[Stage], state: dict[str, Any] | None, world: int) -> tuple[list[Stage], str]:
    """Keep the global batches of a run when another number of processes continues it.

    Args:
        stages: stages of the recipe.
        state: checkpoint from which the run continues; None for a new run.
        world: number of processes, >= 1.

    Returns:
        The stages, with a new `batch_size` where the recipe is unchanged and the processes divide the batch evenly; and
        a message about these, or "". The trainer refuses batches that do not fit.
    """
    kept, lines = list(stages), []
    if state is None:
        return kept, ""
    for number, before in enumerate(state["global_batches"]):
        stage, was = kept[number], state["recipe"]["stages"][number]["batch_size"]
        size = before // world
        if number < state["stage"] or stage.batch_size != was or size in (0, was) or size * world != before:
            continue
        kept[number] = stage.model_copy(update={"batch_size": size})
        lines.append(f"stage {stage.name}: batches stay {before} images: batch_size {size} for each of {world}")
    return kept, "\n".join(lines)


def _find(recipe: Recipe) -> Found:
    """Find the data, the run folder and its checkpoint; all checks of user input precede the first write."""
    data = data_of(recipe)
    fields, index = sorted(recipe.method.reads(data)), Index(data.root)
    needed = recipe.method.reads(data, optional=False)
    optional = set(fields) - needed
    files = find_samples(data, data.train, needed, optional, index)
    warnings: list[str] = []
    try:
        preflight(files, fields, data, recipe.stages, recipe.method.too_small)
    except BadFiles as error:
        if recipe.training.bad_files != "skip":
            raise
        warnings.append(f"warning: {error}\n  such files are left out (training.bad_files: skip)")
    files, held_back = hold_back(data, files, needed, index, optional)
    classes = class_table(data)
    validation_files = _to_validate(recipe, fields, held_back, index)
    folder = open_run_dir(recipe)
    checkpoints = checkpoint.Checkpoints(folder, recipe.training.keep)
    resume = checkpoints.latest(warnings.append)
    if resume is None and checkpoints.files():
        raise UserError(
            f"{folder}: none of its checkpoints is whole, so the run cannot go on:\n  " + "\n  ".join(warnings) + "\n"
            "Start a new run in another folder (out=FOLDER)"
        )
    present = TrainingFiles.of(data.root, files, recipe.training.check_content)
    if resume is not None and (before := TrainingFiles.read(folder)) is not None:
        present.check(before, warnings.append)
    present.write(folder)
    count = recipe.training.sample_count
    try:
        preview_files = find_samples(data, data.test, needed - {PHOTO}, optional | {PHOTO}, index)[:count]
        preflight(preview_files, fields, data, recipe.stages)
    except UserError as error:
        preview_files = (held_back or files)[:count]
        if any(data.root.glob(f"{data.test}*")):
            instead = "files held back" if held_back else "training files"
            warnings.append(f"warning: sample grids show {instead}, for the test files cannot be used: {error}")
    return Found(files, preview_files, validation_files, classes, folder, resume, warnings)


def _to_validate(
    recipe: Recipe, fields: Sequence[str], held_back: list[SampleFiles], index: Index
) -> list[SampleFiles]:
    """Return the files of the validation: the training files held back, else the test files."""
    data = data_of(recipe)
    if recipe.validation is None:
        return []
    needed = recipe.method.reads(data, optional=False)
    optional = set(fields) - needed
    try:
        files = held_back or find_samples(data, data.test, needed - {PHOTO}, optional | {PHOTO}, index)
    except UserError as error:
        raise UserError(f"validate: {error}\nOr hold some training files back (data.validation=0.1)") from None
    if not isinstance(data.validation, float):  # held-back files were checked with the training files
        preflight(files, fields, data, recipe.stages)
    lacking = set(data.files_for(needed)) - files[0].paths.keys()
    if lacking and recipe.validation.needs_truth:
        raise UserError(
            f"validate.metrics: {', '.join(recipe.validation.metrics or ())} compare with true pictures, and the "
            f"{data.test} files have none; hold some training files back (data.validation=0.1)"
        )
    return files


def _read(path: Path, processes: Processes, count: int) -> dict[str, Any]:
    """Load the checkpoint from which the run continues; the order of samples depends on the number of files."""
    if not path.is_file():
        raise UserError(f"process {processes.rank} cannot see it; all nodes need the same run folder", path=path)
    state = checkpoint.load(path)
    if state["files"] != count:
        raise UserError(
            f"{path}: the run was started with {state['files']} training files and now there are {count}, so it cannot "
            "go on as it would have; bring the files back, or start a new run from its weights (init_from, out)"
        )
    return state


def _samples(recipe: Recipe, found: Found, number: int) -> Dataset[Sample]:
    data, geometry = data_of(recipe), Geometry.of(recipe.stages[number])
    fields = recipe.method.reads(data)
    skip = recipe.training.bad_files == "skip"
    return TrainingSamples(found.files, fields, data, geometry, recipe.training.seed, number, skip)


def _preview_batches(recipe: Recipe, found: Found, number: int) -> list[Batch]:
    """Return the samples of the grids of a stage; bad files are left out if the recipe allows it."""
    if not found.preview_files:
        return []
    fields = recipe.method.reads(recipe.data)
    samples = EvalDataset(found.preview_files, fields, data_of(recipe), Geometry.of(recipe.stages[number]))
    batches = []
    for index in range(len(found.preview_files)):
        try:
            batches.append(collate([samples[index]]))
        except UserError:
            if recipe.training.bad_files != "skip":
                raise
    return batches


def _validation(recipe: Recipe, found: Found, device: torch.device, make_judge: MakeJudge | None) -> Validation | None:
    """Return the validation, tried on the first picture of each stage; None if the recipe has none."""
    if recipe.validation is None:
        return None
    assert make_judge is not None, "a recipe that validates needs a judge"
    data = data_of(recipe)
    fields = {*recipe.method.reads(data), PHOTO}
    validation = Validation(
        recipe.validation,
        make_judge(recipe.validation, data, found.classes, device),
        [files.name for files in found.validation_files],
        lambda number: EvalDataset(found.validation_files, fields, data, Geometry.of(recipe.stages[number])),
    )
    table = recipe.method.inputs(data, recipe.method.directions[0])
    target = next(each for each in table if each.role == "target")
    for number in range(len(recipe.stages)):
        validation.begin(number)
        validation.check(target.size or 1, device)
    return validation


def _identity(recipe: Recipe, found: Found, machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": hdtrans.__version__,
        "recipe": recipe.model_dump(mode="json"),
        "files": len(found.files),
        "classes": None if found.classes is None else found.classes.to_dict(),
        "machine": machine,
    }


def _reporter(
    recipe: Recipe, stages: Sequence[Stage], found: Found, state: dict[str, Any] | None, processes: Processes
) -> Reporter | None:
    if not processes.first:
        return None
    total = 0
    for stage in stages:
        batch = stage.batch_size * processes.world
        total += -(-stage_images(stage, len(found.files)) // batch) * batch
    return Reporter(found.folder, recipe.name, 0 if state is None else state["images_seen"], total)


def _greeting(found: Found, state: dict[str, Any] | None) -> str:
    if state is None:
        return f"{found.folder}: a new run on {len(found.files)} images"
    return f"{found.folder}: going on in stage {state['stage_name']} after {state['images_seen']} images"
