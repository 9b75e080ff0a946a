"""What a study that exists still lacks, read before it is opened; nothing is written."""

from __future__ import annotations

import math

from nas.results.forecast import seconds_left, terms_of
from nas.results.study_rungs import StudyRungs, read_study_rungs, rungs_of
from nas.search.request import DEFAULT_TRIALS, Request
from nas.study.attributes import TARGET
from nas.study.folder import StudyDefinition, StudyFolder
from nas.study.rungs import check_rungs
from nas.study.storage import has_study, load_study, open_storage, store_file


def read_ahead(
    definition: StudyDefinition, folder: StudyFolder, request: Request
) -> StudyRungs | None:
    """Return a study with the rungs that it will have; None where its store has no trials yet.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
        StorageError: The store is damaged, unreachable, or may not be read.
    """
    url = request.storage or definition.storage
    path = store_file(url, folder.journal)
    if path is not None and not path.is_file():
        return None
    storage = open_storage(url, folder.journal)
    if not has_study(definition.name, storage):
        return None
    study = load_study(definition.name, storage)
    attrs = study.user_attrs
    rungs = rungs_of(attrs) if request.rungs is None else request.rungs
    check_rungs(rungs, request.trials or attrs.get(TARGET, DEFAULT_TRIALS), definition.plan.epochs)
    return read_study_rungs(definition, storage, study, rungs=rungs)


def lacking(study_rungs: StudyRungs | None, request: Request) -> tuple[int, float]:
    """Return the most trials that could be trained at once, and the seconds one worker needs.

    The seconds are infinite while no trial has ended.
    """
    if study_rungs is None:
        return request.trials or DEFAULT_TRIALS, math.inf
    own = study_rungs.rungs[0]
    num_trials = request.trials or own.num_trials or DEFAULT_TRIALS
    counts = [num_trials - own.num_trained]
    counts += [rung.spec.count - rung.num_trained for rung in study_rungs.upper if rung.spec]
    seconds = seconds_left(own.rows, num_trials, terms_of(study_rungs.definition))
    by_rung = study_rungs.seconds_by_rung()
    if seconds is None or by_rung is None:
        return max(counts), math.inf
    return max(counts), seconds + sum(by_rung)
