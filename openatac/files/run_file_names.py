"""The files in the folder of a run."""
import os

SETTINGS = 'settings.json'  # every option, and the command
LOG = 'train.log'
METRICS = 'metrics.csv'  # a row for each epoch
METRICS_LINES = 'metrics.jsonl'  # the same, a line for each epoch
BEST = 'best.params'
LAST = 'last.params'
SUMMARY = 'summary.json'  # written when the run finishes
CHECKPOINTS = 'checkpoints'  # a folder
FIGURE = 'history.png'  # of error and loss over the epochs
SAMPLE = 'sample.png'  # one of the images
WANDB_ID = 'wandb-id'  # of the Weights & Biases run, which a resumed run continues
LOCK = '.lock'  # while a process trains


def holds_run(folder: str) -> bool:
    """Return whether the folder contains a run, finished or not."""
    return os.path.isfile(os.path.join(folder, SETTINGS))
