"""The training loop: one for every method. It knows no method, no network and no loss.

Time is counted in images seen. Everything random follows from the seed and the images seen, so the state of a run is
what `_state` returns, and the same command continues a run that was stopped, bit for bit.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from hdtrans.common.classes import ClassTable
from hdtrans.common.errors import NonFiniteError, Stopped, UserError
from hdtrans.config.stage import Stage
from hdtrans.config.training import Training
from hdtrans.data.batch import Batch, Sample
from hdtrans.data.dataset import make_loader, workers_watched
from hdtrans.data.order import BatchOrder
from hdtrans.engine.agreement import check_agreement
from hdtrans.engine.alarms import Alarms
from hdtrans.engine.checkpoint import Checkpoints
from hdtrans.engine.distributed import Processes
from hdtrans.engine.ema import Ema
from hdtrans.engine.guard import PhaseReport, Skips, Step, overflowed
from hdtrans.engine.meter import Meter
from hdtrans.engine.non_finite import evidence, save_evidence, sentence
from hdtrans.engine.optim import stage_images
from hdtrans.engine.precision import choose_precision, set_up_backend
from hdtrans.engine.prefetch import prefetch
from hdtrans.engine.report.previews import Viewable, preview_columns
from hdtrans.engine.report.reporter import Reporter
from hdtrans.engine.stage import StageTraining
from hdtrans.engine.validation import Validation
from hdtrans.methods.base import Method


class Trainer:
    """Trains the networks of a method through the stages of a recipe.

    Args:
        networks: all networks of the method; moved to the device of `processes`.
        make_method: returns the method as it is in a stage, over the networks.
        make_samples: returns the training samples of a stage, by its number; indexed by counter.
        stages: in order, completed.
        training: the recipe's section.
        processes: of the run.
        checkpoints: where the state is kept; None keeps nothing.
        reporter: what shows the run to people; on rank 0 only.
        make_stills: returns the samples of a stage's sample grids, by its number, each a batch of one.
        classes: names and colours of label maps.
        identity: plain values that go into every checkpoint (recipe, classes, version).
        viewable: turns columns of a sample grid that show nothing as they are into some that do.
        validation: what judges pictures meanwhile, says which weights were best, and may end a stage.

    Attributes:
        stage_number: of the stage at work.
        images: drawn by that stage.
        images_seen: by the whole run.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        make_method: Callable[[Stage], Method],
        make_samples: Callable[[int], Dataset[Sample]],
        stages: Sequence[Stage],
        training: Training,
        processes: Processes | None = None,
        checkpoints: Checkpoints | None = None,
        reporter: Reporter | None = None,
        make_stills: Callable[[int], Sequence[Batch]] = lambda stage_number: (),
        classes: ClassTable | None = None,
        identity: dict[str, Any] | None = None,
        viewable: Viewable = dict,
        validation: Validation | None = None,
    ) -> None:
        self.networks = networks
        self.make_method = make_method
        self.make_samples = make_samples
        self.stages = stages
        self.training = training
        self.processes = processes or Processes()
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.make_stills = make_stills
        self.classes = classes
        self.identity = identity or {}
        self.viewable = viewable
        self.validation = validation
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
        self._unsettled: Step | None = None
        self._left_out: list[str] = []
        self._unfinished: dict[str, Any] | None = None
        self._signal = 0
        self._signal_came: int | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of this run; what belongs to its stage is taken up when that stage begins.

        Raises:
            UserError: the batches of all processes together are not as large as they were.
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
        """Refuse to go on from stage number `first` with batches of another size."""
        for stage, was, now in list(zip(self.stages, before, self._global_batches, strict=True))[first:]:
            if was != now:
                raise UserError(
                    f"stage {stage.name}: the run was started with {was} images in a batch of all processes, and would "
                    f"go on with {now} ({self.processes.world} process(es) of batch_size {stage.batch_size}); choose "
                    f"both so that their product is {was} again"
                )

    @property
    def _global_batches(self) -> list[int]:
        """The images in a batch of all processes, for each stage."""
        return [stage.batch_size * self.processes.world for stage in self.stages]

    def run(self) -> None:
        """Train from where the run is to the end of the last stage.

        Raises:
            UserError: a sample cannot be used.
            NonFiniteError: a loss, a gradient or a weight is NaN or infinite; the last checkpoint stays.
            ProcessError: another process, or a data worker, is lost, or a process has other weights than the first.
            Stopped: a signal came; the state is saved.
        """
        with self._signals(), self.processes.watched(lambda: self._place), workers_watched():
            while self.stage_number < len(self.stages):
                self._run_stage(self.stages[self.stage_number])
                self.stage_number, self.images, self._unfinished = self.stage_number + 1, 0, None

    @property
    def _place(self) -> str:
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
        stills = self.processes.agree(lambda: self.make_stills(self.stage_number) if self.reporter else ())
        self.processes.on_first(lambda: None)  # from here on, the others wait no longer than for a step
        meter = Meter()
        for batch in prefetch(self.processes.together(meter.waiting(loader)), self.processes.device):
            self._left_out.extend(batch.left_out)
            self._step(work, batch, meter)
            if self._after_step(work, meter, stills, last=self.images >= stop):
                break

    def _step(self, work: StageTraining, batch: Batch, meter: Meter) -> None:
        """Take one batch through the phases; a second time where the step before it was not finite and froze them."""
        work.step(batch, self.images, self.images_seen)
        if not self._settle(work, meter):
            work.step(batch, self.images, self.images_seen)
        self._unsettled = work.taken
        self._unsettled.send()
        self.images, self.images_seen = self.images + work.global_batch, self.images_seen + work.global_batch
        if self.ema is not None:
            self.ema.update(work.trained, work.global_batch, self.images_seen, work.guard.frozen)

    def _settle(self, work: StageTraining, meter: Meter) -> bool:
        """Look at the last step that was not looked at yet; undo it and return False where it is not finite."""
        step, self._unsettled = self._unsettled, None
        if step is None:
            return True
        reports, variations = step.read()
        bad = next((place for place, report in enumerate(reports) if report.bad), None)
        if bad is None:
            self._skips.good()
            meter.add(step.losses, work.global_batch)
            if self.reporter is not None:
                for warning in self._alarms.watch(reports, variations):
                    self.reporter.message(f"warning: after {step.images_seen} images: {warning}")
            return True
        work.undo(step, bad)
        self._tell(work, step, reports)
        return False

    def _tell(self, work: StageTraining, step: Step, reports: Sequence[PhaseReport]) -> None:
        """Write down a step that was not finite, and stop where the recipe says so or it happens too often."""
        too_often = self._skips.bad(reports)
        if overflowed(reports) and not too_often:
            return  # as it happens in fp16: the scale is lower now
        known = self.processes.gather(evidence(step, reports))
        words = f"stage {work.stage.name}, {step.images_seen} images: {sentence(step, reports, known)}"
        if self.processes.first and self.checkpoints is not None:
            where = {"stage": work.stage.name, "seed": self.training.seed, "precision": self.precision.name}
            try:
                file = save_evidence(self.checkpoints.folder.parent, step, reports, known, where)
                words += f"; {file} tells more"
            except UserError as error:
                words += f"; {error}"
        if self.training.non_finite == "skip" and not too_often:
            if self.reporter is not None:
                self.reporter.message(f"warning: {words}. The batch is left out")
            return
        self.images, self.images_seen = step.images, step.images_seen
        reason = f"{too_often}; " if too_often else ""
        skip = "" if too_often else ", or leave single batches out with training.non_finite=skip"
        raise NonFiniteError(
            f"{words}; {reason}the last checkpoint is untouched. Lower training.optimizer.learning_rate, "
            f"try training.precision=fp32{skip}"
        )

    def _begin(self, work: StageTraining) -> None:
        """Take up the stage where a checkpoint left it, or start it."""
        self._alarms = Alarms({p.name for p in work.method.phases if set(p.trains) & set(work.method.averaged)})
        if self._unfinished is not None:
            work.load_state_dict(self._unfinished)
        elif self.ema is not None:
            frozen = [name for name in work.method.averaged if name not in work.trained]
            self.ema.reset(frozen)
        if self.reporter is not None:
            self.reporter.message(work.table())

    def _after_step(self, work: StageTraining, meter: Meter, stills: Sequence[Batch], last: bool) -> bool:
        """Validate, report, sample, save and stop, each when it is due; return whether the stage is at its end."""
        stopping = self.processes.largest(self._signal)
        best = False
        if self.validation is not None and (last or self._due(self.validation.section.every, work)):
            self._settle(work, meter)
            with meter.paused():
                best = self.validation.run(work, self._served, self.images_seen, self.reporter)
            last = last or self.validation.over
        saving = last or stopping > 0 or self._due(self.training.save_every, work)
        logging = saving or self._due(self.training.log_every, work)
        showing = last or self._due(self.training.sample_every, work)
        if self.reporter is not None:
            self.reporter.advance(self.images_seen, meter.waiting_share)
        if logging or showing:
            self._settle(work, meter)
        if logging:
            self._log(work, meter)
        if showing:
            self.processes.on_first(lambda: self._show(work, stills))
        if saving or best:
            self._save(work, saving, best, last)
        if stopping:
            self._stop(stopping)
        return last

    def _stop(self, number: int) -> None:
        """Leave, the state saved, with a message that says when the signal came to the first of the processes."""
        came = [images for images in self.processes.gather(self._signal_came) if images is not None]
        when = f" (it came after {min(came)})" if came else ""
        name = signal.Signals(number).name
        raise Stopped(number, f"{name} after {self.images_seen} images{when}; run the same command again to go on")

    def _due(self, every: int, work: StageTraining) -> bool:
        """Whether the images seen passed a multiple of `every` with the last batch."""
        return self.images_seen // every > (self.images_seen - work.global_batch) // every

    @property
    def _served(self) -> nn.ModuleDict:
        """The networks, averaged where there are averages."""
        return nn.ModuleDict({**self.networks, **(self.ema.networks if self.ema else {})})

    def _log(self, work: StageTraining, meter: Meter) -> None:
        means = meter.flush(self.processes)
        record: dict[str, float | int | str] = {
            "images": self.images_seen,
            "stage": work.stage.name,
            "epoch": round(self.images / work.count, 3),
            "learning_rate": work.current_learning_rate(self.images - work.global_batch),
            **meter.speed,
            **means,
        }
        if self.training.bad_files == "skip":
            left_out = self.processes.gather(self._left_out)
            self._left_out = []
            if self.reporter is not None:
                self.reporter.left_out([words for words_of_one in left_out for words in words_of_one])
        if self.reporter is not None:
            self.reporter.log(record)

    def _show(self, work: StageTraining, stills: Sequence[Batch]) -> None:
        """Make the sample grid, with the averaged weights where there are some, and rewrite the page."""
        if self.reporter is None:
            return
        if stills:
            names, columns = preview_columns(work, self._served, stills, self.images_seen, self.classes, self.viewable)
            self.reporter.samples(self.images_seen, work.stage.name, names, columns)
            work.train_mode()
        self.reporter.page()

    def _save(self, work: StageTraining, passing: bool, best: bool, last: bool) -> None:
        """Save the state: as one of the `passing` checkpoints, as the `best`, or as both; `last` ends the stage."""
        if self.checkpoints is None:
            return
        for name in work.trained:
            if not all(bool(torch.isfinite(p).all()) for p in self.networks[name].parameters()):
                raise NonFiniteError(f"after {self.images_seen} images the weights of {name} are not finite; not saved")
        state = {
            **self.identity,
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
        check_agreement(state, self.processes, self._place)
        state["training"]["memory"] = _union(self.processes.gather(work.memory()))
        self.processes.on_first(lambda: self._write(state, passing, best, work.stage.name if last else None))

    def _write(self, state: dict[str, Any], passing: bool, best: bool, stage_end: str | None) -> None:
        """Save a checkpoint, and warn where that takes so long that it may not be finished after a signal."""
        assert self.checkpoints is not None
        start = time.monotonic()
        if best:
            self.checkpoints.save_best(state, self.images_seen)
        if passing:
            self.checkpoints.save(state, self.images_seen, stage_end)
        seconds, grace = time.monotonic() - start, float(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30"))
        if seconds > grace / 2 and self.reporter is not None:
            self.reporter.message(
                f"warning: saving took {seconds:.0f} s, and torchrun kills its processes {grace:.0f} s after a signal; "
                f"set TORCH_ELASTIC_SHUTDOWN_TIMEOUT={max(120, round(4 * seconds))} before you start it, and give as "
                "much time to whatever sends the signal"
            )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM, SIGUSR1 and the first SIGINT end the run at the next step, its state saved."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(number: int, frame: object) -> None:
            self._signal_came = self._signal_came if self._signal else self.images_seen
            self._signal = number
            signal.signal(signal.SIGINT, before[signal.SIGINT])

        numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
        before = {number: signal.signal(number, remember) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _union(memories: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Put together what the processes remember, each under keys of its own."""
    union: dict[str, dict[str, Any]] = {}
    for memory in memories:
        for name, entries in memory.items():
            union.setdefault(name, {}).update(entries)
    return union
