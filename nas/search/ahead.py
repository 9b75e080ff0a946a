"""What a study that exists still lacks, read before it is opened; nothing is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.data.split import num_train
from nas.machine import usable_cores
from nas.results.forecast import Forecast
from nas.results.study_rungs import StudyRungs, read_study_rungs, rungs_of
from nas.search.plan import default_rungs, grow_rungs
from nas.search.request import Request
from nas.search.sizing import NUM_SHALLOW_OF, workers_for
from nas.search.workers import pays_off
from nas.study.attributes import RUNGS, TARGET
from nas.study.rungs import NONE_YET, RungSpec, check_rungs
from nas.study.storage import has_study, load_study, open_storage, store_file

if TYPE_CHECKING:
    from nas.search.prepare import Search


def read_ahead(search: Search) -> StudyRungs | None:
    """Return a study with the rungs that it will have; None where its store has no trials yet.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
        StorageError: The store is damaged, unreachable, or may not be read, or another program
            renamed or deleted the study in it.
    """
    definition, journal = search.definition, search.folder.journal
    path = store_file(search.url, journal)
    if path is not None and not path.is_file():
        return None
    storage = open_storage(search.url, journal)
    name = definition.name
    if not has_study(name, storage) and not search.folder.trained_studies(name):
        return None
    study = load_study(search.folder, name, storage)
    rungs = wanted_rungs(search, study.user_attrs)
    return read_study_rungs(definition, storage, study, rungs=rungs)


def wanted_rungs(search: Search, attrs: Mapping[str, Any]) -> tuple[RungSpec, ...]:
    """Return the rungs that a study is to have: as given, else as it was.

    Those of its plan grow with its trials: of more of them, more climb.

    Args:
        search: The search.
        attrs: The user attributes of its Optuna study; none of one that is not begun in full.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
    """
    request, plan, current = search.request, search.definition.plan, rungs_of(attrs)
    target = attrs.get(TARGET)
    num_images = num_train(search.data, plan.folds, search.definition.seed)
    num_trials = request.num_trials(target)
    if request.rungs is not None:  # fewer --trials may be left than its rungs were made for
        check_rungs(request.rungs, num_trials, plan.epochs, plan.train_images, num_images)
        return request.rungs
    if search.definition.targets:
        return current
    most = search.space.num_feasible() or num_trials
    if (target is None and RUNGS not in attrs) or attrs.get(RUNGS) == NONE_YET:
        return default_rungs(plan, num_images, min(num_trials, most))
    before = min(target or num_trials, most)
    return grow_rungs(current, plan, num_images, before, min(num_trials, most))


def resumed_workers(search: Search) -> tuple[int, bool]:
    """Return how many trainings of a study that exists run at once; and as in `Sizing.is_short`.

    The threads of each are the plan's.
    """
    definition, request, space = search.definition, search.request, search.space
    if request.workers is not None or definition.plan.device != "cpu":
        return request.workers or 1, False
    num_trials, seconds = _lacking(read_ahead(search), request)
    rng = np.random.default_rng(definition.seed)
    drawn = [space.decode(space.sample(rng)) for _ in range(NUM_SHALLOW_OF)]
    most = workers_for(drawn, definition.input_spec, definition.recipe["batch_size"])
    workers = max(1, min(usable_cores() // definition.plan.num_threads, most, num_trials))
    is_short = not pays_off(workers, seconds, request.time_limit_seconds)
    return 1 if is_short else workers, is_short


def _lacking(study_rungs: StudyRungs | None, request: Request) -> tuple[int, float]:
    """Return the most trials that could be trained at once, and the seconds one worker needs.

    The seconds are infinite while no trial has ended.
    """
    if study_rungs is None:
        return request.num_trials(), math.inf
    own = study_rungs.rungs[0]
    num_trials = request.num_trials(own.num_trials)
    counts = [num_trials - own.num_trained]
    counts += [rung.spec.count - rung.num_trained for rung in study_rungs.upper if rung.spec]
    asked = replace(study_rungs, rungs=(replace(own, num_trials=num_trials), *study_rungs.upper))
    seconds = Forecast(asked).seconds_left()
    return max(counts), math.inf if seconds is None else seconds
