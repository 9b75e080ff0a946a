"""Train one trial: the one file that knows both Optuna and training."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.confusion import ACCURACY
from nas.data.images import Dataset
from nas.errors import InfeasibleError, StorageError
from nas.files import remove_leftovers, write_text_atomically
from nas.network.architecture import Architecture
from nas.network.caps import Caps, format_percent
from nas.network.complexity import count
from nas.network.identity import identify
from nas.results.audit import is_audited
from nas.results.estimates import EstimateReader
from nas.samplers.contract import Proposal
from nas.signals import InterruptGuard
from nas.space import SearchSpace
from nas.space.budgeted import UNBUILDABLE
from nas.study import attributes as names
from nas.study.definition import StudyDefinition
from nas.study.folder import StudyFolder
from nas.study.ledger import WORST_ACCURACY
from nas.study.lineage import ancestors, list_requeued
from nas.study.trials import rank
from nas.training.batches import make_batches
from nas.training.engine import Engine, free_memory
from nas.training.loop import TrainSpec, fold_path, train
from nas.training.recipe import Recipe
from nas.training.result import Ending, EpochRecord, TrainResult
from nas.training.tracking import TrackedRun, Trackers

KEPT_TRIALS = 10  # trials whose folder with the learning curve stays, the best first
CHECKPOINT_FILE, CURVE_FILE = "checkpoint.pt", "curve.json"


@dataclass(frozen=True)
class Objective:
    """Everything the trials of a study share.

    Args:
        definition: The study.
        folder: Its folder.
        space: What the networks are chosen from.
        splits: Returns the images on the device, without the test split, of every fold.
        estimates: Says which trials are the best, whose folders stay.
        track: The trackers of every trial, by name.
        left_out: Those of them that failed: no further trial tries them.
    """

    definition: StudyDefinition
    folder: StudyFolder
    space: SearchSpace
    splits: Callable[[], Sequence[Dataset]]
    estimates: EstimateReader
    track: tuple[str, ...] = ()
    left_out: set[str] = field(default_factory=set)

    def describe(self, trial: optuna.Trial, proposal: Proposal | None) -> Architecture:
        """Ask the trial for its network and write down what it is, seed and id first of all.

        Args:
            trial: The trial.
            proposal: How the sampler came to it; None for an enqueued network.
        """
        architecture = self.space.suggest(trial)
        identity = identify(architecture)
        if names.SEED not in trial.user_attrs:
            trial.set_user_attr(names.SEED, self.definition.seed)
        trial.set_user_attr(names.ID, identity.id)  # from here on the training is claimed
        trial.set_user_attr(names.SHAPE_ID, identity.shape_id)
        trial.set_user_attr(names.ARCHITECTURE, architecture.to_dict())
        trial.set_user_attr(names.NOTATION, architecture.to_notation())
        if proposal is not None and names.SOURCE not in trial.user_attrs:
            trial.set_user_attr(names.SOURCE, proposal.source)
            trial.set_user_attr(names.OVER_BUDGET, proposal.over_budget)
            trial.set_user_attr(names.REPEATS, proposal.repeats)
            if self.definition.targets:
                trial.set_user_attr(names.TARGET_BUDGET, self.definition.targets[proposal.arm])
        elif names.SOURCE not in trial.user_attrs:  # killed before its source was written down
            trial.set_user_attr(names.SOURCE, names.ENQUEUED_AGAIN)
        return architecture

    def check_caps(self, trial: optuna.Trial, architecture: Architecture) -> str | None:
        """Write down what the network costs; return why it may not be trained, or None.

        In a study of several budgets a network keeps the one that it was proposed for; one that
        was named in advance, the smallest that holds it.
        """
        caps = self.definition.caps
        try:
            cost = count(architecture, self.definition.input_spec)
        except InfeasibleError as error:
            trial.set_constraint("budget", UNBUILDABLE)
            trial.set_user_attr(names.REASON, str(error))
            return str(error)
        trial.set_user_attr(names.NUM_PARAMS, cost.num_params)
        trial.set_user_attr(names.MACS, cost.macs)
        trial.set_user_attr(names.ACTIVATIONS, cost.activations)
        trial.set_user_attr(names.BUDGET_PERCENT, format_percent(cost.num_params, caps.budget))
        budgets = self.definition.targets
        if budgets and names.TARGET_BUDGET not in trial.user_attrs:
            holding = (budget for budget in budgets if Caps(budget).holds(cost.num_params))
            trial.set_user_attr(names.TARGET_BUDGET, next(holding, caps.budget))
        caps = replace(caps, budget=trial.user_attrs.get(names.TARGET_BUDGET, caps.budget))
        for name, value in caps.constraints(cost).items():
            trial.set_constraint(name, value)
        excess = caps.describe_excess(cost)
        if excess is not None:
            trial.set_user_attr(names.REASON, f"over budget: {excess}")
        return excess

    def train(
        self,
        trial: optuna.Trial,
        architecture: Architecture,
        guard: InterruptGuard,
        on_change: Callable[[str], None],
    ) -> TrainResult:
        """Train the network; report every epoch, stop where the pruner says so.

        A trial that continues a killed one goes on from that one's checkpoint.
        """
        definition, plan, metric = self.definition, self.definition.plan, self.definition.metric
        recipe = Recipe.from_dict(definition.recipe)
        seed = trial.user_attrs[names.SEED]
        spec = TrainSpec(architecture, definition.input_spec, recipe, plan.epochs, seed)
        own = self._prepare_folder(trial)
        trackers = self._make_trackers(trial, spec)
        curve: list[EpochRecord] = []
        started = time.perf_counter()

        def write_seconds() -> None:
            trial.set_user_attr(names.DEVICE_SECONDS, time.perf_counter() - started)

        def on_epoch(record: EpochRecord) -> bool:
            value = record.val_score(metric)
            with guard.deferred():
                curve[record.epoch - 1 :] = [record]  # a training that began again repeats
                trial.report(value, step=record.epoch - 1)
                if metric != ACCURACY and record.val_scores is not None:
                    trial.set_user_attr(names.STANDARD_ERROR, record.val_scores[metric][1])
                write_seconds()
                write_text_atomically(
                    own / CURVE_FILE, json.dumps([item.to_dict() for item in curve])
                )
                is_over = record.epoch < plan.epochs and self._is_to_be_stopped(
                    trial, record.epoch
                )
            trackers.log(record)
            on_change(
                f"trial {trial.number}: epoch {record.epoch}/{plan.epochs}, {100 * value:.1f}%"
            )
            return is_over

        try:
            with guard.interruptible(), trackers:
                first, *folds = [make_batches(data, recipe, seed) for data in self.splits()]
                result = train(
                    spec,
                    first,
                    Engine(plan.device, plan.num_threads, bfloat16=plan.bfloat16),
                    folds=folds,
                    on_epoch=on_epoch,
                    checkpoint_path=own / CHECKPOINT_FILE,
                    resume=True,
                )
                with guard.deferred():
                    write_seconds()
                trackers.result = {
                    "status": result.status.value,
                    f"val_{metric}": told(result, metric)[1],
                    "num_params": trial.user_attrs[names.NUM_PARAMS],
                }
        except KeyboardInterrupt:
            with suppress(StorageError):  # whoever holds the store may be stopped
                write_seconds()
            raise
        return result

    def finish(self, trial: optuna.Trial, result: TrainResult) -> None:
        """Write what was measured into the trial; its checkpoint stays until it is told."""
        trial.set_user_attr(names.SECONDS, result.elapsed_seconds)
        if result.status.is_broken:
            trial.set_user_attr(names.REASON, result.reason)
        if result.curve:
            trial.set_user_attr(names.TRAIN_ACCURACY, result.curve[-1].train_accuracy)
        if result.micro_batch != self.definition.recipe["batch_size"]:
            trial.set_user_attr(names.MICRO_BATCH, result.micro_batch)

    def clear(self, study: optuna.Study) -> None:
        """Remove what no trial needs: checkpoints of ended ones, folders but the best ones'."""
        free_memory(self.definition.plan.device)
        trials = study.get_trials(deepcopy=False)
        kept = {row.number for row in rank(self.estimates.read(study))[:KEPT_TRIALS]}
        open_ones = [trial.number for trial in trials if not trial.state.is_finished()]
        open_ones += [trial.number for trial in list_requeued(trials)]
        needed = {
            number for open_one in open_ones for number in (open_one, *ancestors(trials, open_one))
        }
        for trial in trials:
            own = self.folder.trial(trial.number)
            if trial.number in needed or not own.exists():
                continue
            if trial.number not in kept:
                shutil.rmtree(own, ignore_errors=True)
                continue
            for path in self._checkpoints(trial.number):
                path.unlink(missing_ok=True)
                remove_leftovers(path)
            remove_leftovers(own / CURVE_FILE)

    def _is_to_be_stopped(self, trial: optuna.Trial, epoch: int) -> bool:
        """Ask the pruner; a trial that it would stop and that is audited runs on, marked."""
        if not trial.should_prune():
            return False
        line = [trial.number, *ancestors(trial.study.get_trials(deepcopy=False), trial.number)]
        if not is_audited(self.definition.seed, line[-1], self.definition.audit):
            return True
        if names.AUDITED_EPOCH not in trial.user_attrs:
            trial.set_user_attr(names.AUDITED_EPOCH, epoch)
        return False

    def _make_trackers(self, trial: optuna.Trial, spec: TrainSpec) -> Trackers:
        network_id = trial.user_attrs[names.ID]
        run = TrackedRun(
            f"{self.definition.name}-trial{trial.number}",
            network_id,
            self.folder.tracking(f"{trial.number}-{network_id}"),
            spec.to_dict(),
        )
        return Trackers(self.track, run, self.left_out)

    def _prepare_folder(self, trial: optuna.Trial) -> Path:
        """Make the trial's folder, with the checkpoint of the nearest trial that it continues."""
        own = self.folder.trial(trial.number)
        own.mkdir(parents=True, exist_ok=True)
        for number in ancestors(trial.study.get_trials(deepcopy=False), trial.number):
            pairs = zip(self._checkpoints(trial.number), self._checkpoints(number), strict=True)
            for checkpoint, older in pairs:
                if not checkpoint.exists() and older.exists():
                    older.replace(checkpoint)
        return own

    def _checkpoints(self, number: int) -> list[Path]:
        """Return where the checkpoints of a trial are, those of its folds."""
        first = self.folder.trial(number) / CHECKPOINT_FILE
        return [fold_path(first, fold) for fold in range(self.definition.plan.folds)]


def told(result: TrainResult, metric: str) -> tuple[TrialState, float | None]:
    """Return the state and the value that Optuna is told.

    The value is the last epoch's, of the validation images by the study's metric, the worst one
    where the training broke; None for a pruned trial, whose last report stands.
    """
    if result.status is Ending.STOPPED:
        return TrialState.PRUNED, None
    if result.status.is_broken:
        return TrialState.COMPLETE, WORST_ACCURACY
    return TrialState.COMPLETE, result.curve[-1].val_score(metric)
