"""Every user attribute that a study or a trial carries, by its one name.

The names are kept in journals and databases: they do not change. Most were given before the words
of docs/glossary.md, so `known` is a baseline and `given_back` a trial that was requeued.
"""

from nas.samplers.contract import GIVEN_BACK_ATTR, REASON_ATTR

# Of the search's Optuna study
TARGET = "target_trials"  # trials it is to have in total
SAMPLER = "sampler"
RUNGS = "rungs"  # as `nas.study.rungs.format_rungs` writes them
WORKERS = "workers"
TIME_LIMIT_SECONDS = "time_limit_seconds"
DEVICE_HOURS = "device_hours"  # after which no trial is begun; None is no limit
CHANGES = "changes"  # what was changed from run to run of the above, and at which trial
KNOWN_ENQUEUED = "known_enqueued"  # the baselines are enqueued
# see `nas.results.study_rungs.StudyRungs`
SAMPLED_UNITS, NUM_NETWORKS = "sampled_cost_units", "num_networks"
FEATURES = "features"  # what `nas.results.estimates.record_features` returns

# Of a rung's Optuna study
RUNG_OF = "rung_of"  # the study whose rung it is

# Of a trial. A training is (network id, seed, rung): `ID`, `SEED` and the Optuna study
ID, SHAPE_ID = "id", "shape_id"
SEED = "seed"  # of weights and order; absent in older trials: the study's
WORKER = "worker"  # {"host", "pid", "started_at", "lock", "oom_kills"} of its process
ARCHITECTURE, NOTATION = "architecture", "notation"
NUM_PARAMS, MACS, ACTIVATIONS = "num_params", "macs", "activations"
BUDGET_PERCENT = "budget_share"
SOURCE = "source"  # `KNOWN`, `ENQUEUED_AGAIN`, or the sampler's word for where it came from
KNOWN_NAME = "known_name"
OVER_BUDGET, REPEATS = "rejected_over_budget", "rejected_repeats"
TARGET_BUDGET = "target_budget"  # that it was proposed for, in a study of several
REASON = REASON_ATTR  # why it broke, failed or was rejected; samplers read it too
GIVEN_BACK = GIVEN_BACK_ATTR  # of a FAIL trial: its network is to be trained again
RESUMES = "resumes"  # number of the killed trial whose training it continues
ORIGIN = "search_trial"  # in a rung: the number of the search's trial that is trained again
AUDITED_EPOCH = "audited_epoch"  # at which pruning would have stopped it (`nas.results.audit`)
STANDARD_ERROR = "standard_error"  # of the last value; absent of an accuracy
SECONDS, TRAIN_ACCURACY = "training_seconds", "train_accuracy"
DEVICE_SECONDS = "device_seconds"  # of the process that trained it, its own part alone
MICRO_BATCH = "micro_batch"

# Values of `SOURCE`
KNOWN = "known"
ENQUEUED_AGAIN = "given back"  # its process died before it could tell where it came from
