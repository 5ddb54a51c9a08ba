"""The files in the folder of a run, and which part of `openatac.training` writes them."""
import os

# runs.run_reservation
LOG = 'train.log'
# runs.recorded_training
SETTINGS = 'settings.json'  # every option, and the command
# loop
BEST = 'best.params'
LAST = 'last.params'
# tracking.trackers
METRICS_CSV = 'metrics.csv'  # a row for each epoch
METRICS_JSONL = 'metrics.jsonl'  # the same, a line for each epoch
FIGURE = 'history.png'  # of error and loss over the epochs
WANDB_ID = 'wandb-id'  # of the Weights & Biases run, which a resumed run continues
SUMMARY = 'summary.json'  # written when the run finishes
# checkpoints.checkpoint
CHECKPOINTS = 'checkpoints'  # a folder
# `openatac.files.reserved_folder`
LOCK = '.lock'  # while a process trains
# runs.next_steps
SAMPLE = 'sample.png'  # one of the images


def holds_run(folder: str) -> bool:
    """Return whether the folder contains a run, finished or not."""
    return os.path.isfile(os.path.join(folder, SETTINGS))
