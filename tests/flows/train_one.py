"""Train one arm of an experiment, as a process that a test can kill: python -m tests.flows.train_one FILE ARM."""

import sys
from pathlib import Path

from tasks.home import prepare_environment

prepare_environment()

from data.experiment.experiment_file import load_experiment  # noqa: E402
from flows.arms import prepare_arm, train_run  # noqa: E402

if __name__ == "__main__":
    one = prepare_arm(load_experiment(Path(sys.argv[1])), sys.argv[2])
    train_run(one.spec, one.source, one.features, one.searches.validation, one.run)
