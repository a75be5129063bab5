"""Training loop for every method; it knows no method, no network and no loss.

Time is counted in images seen. Every random draw follows from the seed and the images seen, so that a checkpoint holds
the whole state of a run, and the same command continues a stopped run bit for bit. All work besides the steps is done
by hooks: see `hdtrans.engine.hooks`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from hdtrans.common.errors import NonFiniteError, UserError
from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.data.batch import Batch, Sample
from hdtrans.data.dataset import make_loader, workers_watched
from hdtrans.data.order import BatchOrder
from hdtrans.engine.alarms import Alarms
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.guard import PhaseReport, Skips, Step, overflowed
from hdtrans.engine.hooks import AfterStep, Hook, Log, Preview, Save, ShowProgress, Stop, Validate
from hdtrans.engine.meter import Meter
from hdtrans.engine.non_finite import evidence, save_evidence, sentence
from hdtrans.engine.optim import stage_images
from hdtrans.engine.precision import choose_precision, set_up_backend
from hdtrans.engine.prefetch import prefetch
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.signals import Signals
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.validation import Validation
from hdtrans.methods.base import Method


class Trainer:
    """Train the networks of a method through the stages of a recipe.

    Args:
        networks: all networks of the method; moved to the device of `processes`.
        make_method: returns the method of a stage, over the networks.
        make_samples: returns the training samples of a stage, by its number; indexed by counter.
        stages: stages in order, completed.
        training: section `training` of the recipe.
        processes: processes of the run; a single one by default.
        reporter: reporter of the run, on rank 0 only.
        save: hook that saves checkpoints; by default nothing is saved.
        preview: hook that makes sample grids; by default the page is rewritten alone.
        validation: validation of the run, which decides on the best weights and may end a stage.

    Attributes:
        hooks: work besides the steps, in order.
        signals: signals of this process.
        stage_number: number of the current stage.
        images: images drawn by that stage.
        images_seen: images drawn by the whole run.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        make_method: Callable[[Stage], Method],
        make_samples: Callable[[int], Dataset[Sample]],
        stages: Sequence[Stage],
        training: Training,
        processes: Processes | None = None,
        reporter: Reporter | None = None,
        save: Save | None = None,
        preview: Preview | None = None,
        validation: Validation | None = None,
    ) -> None:
        self.networks = networks
        self.make_method = make_method
        self.make_samples = make_samples
        self.stages = stages
        self.training = training
        self.processes = processes or Processes()
        self.reporter = reporter
        self.save = save or Save()
        self.preview = preview or Preview()
        self.validation = validation
        self.signals = Signals()
        self.hooks: list[Hook] = [ShowProgress(), Log(self.save), self.preview, self.save, Stop(self.signals)]
        if validation is not None:
            self.hooks.insert(0, Validate(validation))
        self.precision = choose_precision(training.precision, self.processes.device)
        self.precision.prepare(networks, self.processes.device)
        self.ema = None
        if training.ema is not None:
            averaged = {name: None for stage in stages for name in make_method(stage).averaged}
            self.ema = Ema(networks, averaged, training.ema.half_life)
        self.stage_number = 0
        self.images = 0
        self.images_seen = 0
        self._skips = Skips()
        self._unchecked: Step | None = None
        self._unfinished: dict[str, Any] | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of this run; the state of its stage is loaded when that stage begins.

        Raises:
            UserError: the global batch has another size than in the checkpoint.
        """
        self._check_batches(state["stage"], state["global_batches"])
        self.stage_number, self.images, self.images_seen = state["stage"], state["images"], state["images_seen"]
        self.networks.load_state_dict(state["networks"])
        if self.ema is not None:
            self.ema.networks.load_state_dict(state["ema"])
        if "skips" in state:
            self._skips.load_state_dict(state["skips"])
        if self.validation is not None and state.get("validation") is not None:
            self.validation.load_state_dict(state["validation"])
        self._unfinished = state["training"]

    def _check_batches(self, first: int, before: Sequence[int]) -> None:
        """Refuse to continue from stage number `first` with global batches of another size."""
        for stage, was, now in list(zip(self.stages, before, self._global_batches, strict=True))[first:]:
            if was != now:
                raise UserError(
                    f"stage {stage.name}: the run was started with {was} images in a batch of all processes, and would "
                    f"go on with {now} ({self.processes.world} process(es) of batch_size {stage.batch_size}); choose "
                    f"both so that their product is {was} again"
                )

    @property
    def _global_batches(self) -> list[int]:
        """Images of a global batch, for each stage."""
        return [stage.batch_size * self.processes.world for stage in self.stages]

    def run(self) -> None:
        """Train from the current state to the end of the last stage.

        Raises:
            UserError: a sample cannot be used.
            NonFiniteError: a loss, a gradient or a weight is NaN or infinite; the last checkpoint stays.
            ProcessError: another process or a data worker is lost, or the processes hold different weights.
            Stopped: a signal came; the state is saved.
        """
        caught = self.signals.caught(lambda: self.images_seen)
        with caught, self.processes.watched(lambda: self._position), workers_watched():
            while self.stage_number < len(self.stages):
                self._run_stage(self.stages[self.stage_number])
                self.stage_number, self.images, self._unfinished = self.stage_number + 1, 0, None

    @property
    def _position(self) -> str:
        """Stage and images seen, for messages."""
        number = min(self.stage_number, len(self.stages) - 1)
        return f"stage {self.stages[number].name}, after {self.images_seen} images"

    def _run_stage(self, stage: Stage) -> None:
        method, samples = self.make_method(stage), self.make_samples(self.stage_number)
        global_batch = stage.batch_size * self.processes.world
        batches = -(-stage_images(stage, len(samples)) // global_batch)  # type: ignore[arg-type]
        stop = batches * global_batch
        if self.images >= stop or (self.validation and self.validation.begin(self.stage_number, self.reporter)):
            return
        method.load_frozen_networks()
        self.precision.prepare(method.frozen_networks, self.processes.device, fixed=True)
        set_up_backend(self.training.deterministic, equal_sizes=stage.size is not None)
        work = StageTraining(method, stage, len(samples), self.training, self.precision, self.processes)  # type: ignore[arg-type]
        self._begin(work)
        rank, world = self.processes.rank, self.processes.world
        order = BatchOrder(self.images, stop, stage.batch_size, rank, world)
        workers, on_gpu = self.training.workers, self.processes.device.type == "cuda"
        loader = make_loader(samples, order, workers, on_gpu, self.training.timeouts.step)
        self.preview.begin(self.stage_number, self.processes, self.reporter)
        # Processes meet here with the long timeout; from here on, they wait for each other no longer than for a step.
        self.processes.on_first(lambda: None)
        meter = Meter()
        for batch in prefetch(self.processes.together(meter.waiting(loader)), self.processes.device):
            meter.left_out.extend(batch.left_out)
            self._step(work, batch, meter)
            if self._after_step(work, meter, last=self.images >= stop):
                break

    def _step(self, work: StageTraining, batch: Batch, meter: Meter) -> None:
        """Take one batch through the phases; again if the step before it was not finite, and froze this one."""
        work.step(batch, self.images, self.images_seen)
        if not self._check_step(work, meter):
            work.step(batch, self.images, self.images_seen)
        self._unchecked = work.taken
        self._unchecked.send()
        self.images, self.images_seen = self.images + work.global_batch, self.images_seen + work.global_batch
        if self.ema is not None:
            self.ema.update(work.trained, work.global_batch, self.images_seen, work.guard.frozen)

    def _check_step(self, work: StageTraining, meter: Meter) -> bool:
        """Read the figures of the last step, once; undo the step and return False if they are not finite."""
        step, self._unchecked = self._unchecked, None
        if step is None:
            return True
        reports, variations = step.read()
        bad = next((index for index, report in enumerate(reports) if report.bad), None)
        if bad is None:
            self._skips.good()
            meter.add(step.losses, work.global_batch)
            if self.reporter is not None:
                for warning in self._alarms.watch(reports, variations):
                    self.reporter.message(f"warning: after {step.images_seen} images: {warning}")
            return True
        work.undo(step, bad)
        self._report_non_finite(work, step, reports)
        return False

    def _report_non_finite(self, work: StageTraining, step: Step, reports: Sequence[PhaseReport]) -> None:
        """Record a non-finite step, and stop if the recipe demands it or too many were skipped."""
        too_often = self._skips.bad(reports)
        if overflowed(reports) and not too_often:
            return  # normal in fp16: the scale is lower now
        known = self.processes.gather(evidence(step, reports))
        message = f"stage {work.stage.name}, {step.images_seen} images: {sentence(step, reports, known)}"
        if self.processes.first and self.save.checkpoints is not None:
            where = {"stage": work.stage.name, "seed": self.training.seed, "precision": self.precision.name}
            try:
                file = save_evidence(self.save.checkpoints.folder.parent, step, reports, known, where)
                message += f"; details: {file}"
            except UserError as error:
                message += f"; {error}"
        if self.training.non_finite == "skip" and not too_often:
            if self.reporter is not None:
                self.reporter.message(f"warning: {message}. The batch is skipped")
            return
        self.images, self.images_seen = step.images, step.images_seen
        reason = f"{too_often}; " if too_often else ""
        skip = "" if too_often else ", or skip single batches with training.non_finite=skip"
        raise NonFiniteError(
            f"{message}; {reason}the last checkpoint is untouched. Lower training.optimizer.learning_rate, "
            f"try training.precision=fp32{skip}"
        )

    def _begin(self, work: StageTraining) -> None:
        """Start the stage, or continue it from a checkpoint."""
        self._alarms = Alarms({p.name for p in work.method.phases if set(p.trains) & set(work.method.averaged)})
        if self._unfinished is not None:
            work.load_state_dict(self._unfinished)
        elif self.ema is not None:
            frozen = [name for name in work.method.averaged if name not in work.trained]
            self.ema.reset(frozen)
        if self.reporter is not None:
            self.reporter.message(work.table())

    def _after_step(self, work: StageTraining, meter: Meter, last: bool) -> bool:
        """Run the hooks that are due; return True if the stage ends here."""
        after = self._state_after(work, meter, last, signal=self.processes.largest(self.signals.number))
        for hook in self.hooks:
            if hook.due(after):
                hook.run(after)
        return after.last

    def _state_after(self, work: StageTraining, meter: Meter, last: bool, signal: int) -> AfterStep:
        return AfterStep(
            work,
            meter,
            self.reporter,
            self.images,
            self.images_seen,
            self._position,
            signal,
            last,
            check_step=lambda: self._check_step(work, meter),
            served=lambda: self._served,
            state=lambda: self._state(work),
        )

    @property
    def _served(self) -> nn.ModuleDict:
        """Networks for results: averaged where averages are kept."""
        return nn.ModuleDict({**self.networks, **(self.ema.networks if self.ema else {})})

    def _state(self, work: StageTraining) -> dict[str, Any]:
        """Return the state of the run, for a checkpoint, but for the method's extra state."""
        return {
            "stage": self.stage_number,
            "stage_name": work.stage.name,
            "images": self.images,
            "images_seen": self.images_seen,
            "global_batches": self._global_batches,
            "skips": self._skips.state_dict(),
            "validation": self.validation.state_dict() if self.validation is not None else None,
            "networks": dict(self.networks.state_dict()),
            "ema": dict(self.ema.networks.state_dict()) if self.ema is not None else None,
            "training": work.state_dict(),
        }
