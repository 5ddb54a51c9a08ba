"""Read the files in the folder of a run.

`openatac.files.run_file_names` says what writes each. Their contents are checked against the types below (see
`openatac.files.schema`), which accept older files without newer keys.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypedDict

from openatac.data.small.built_in_datasets import SmallDatasetName
from openatac.errors import OpenatacError, UsageError, reason
from openatac.files.csv_file import read_csv
from openatac.files.reading import read_text
from openatac.files.run_file_names import METRICS_CSV, METRICS_JSONL, SETTINGS, SUMMARY
from openatac.files.schema import read_json
from openatac.limits import MAX_SEED, Bounds
from openatac.options.declaration import from_json, with_changes
from openatac.training.config import Config, config_type_of
from openatac.training.sections.cifar import BY_FLAGS

if TYPE_CHECKING:
    from openatac.library import Library
    from openatac.training.networks.build import BuiltNetwork

_Count = Annotated[int, Bounds(1, 2 ** 40)]
_Index = Annotated[int, Bounds(-1, 2 ** 40)]
_Fraction = Annotated[float, Bounds(0, 1)]
_Speed = Annotated[float, Bounds(0, 1e9)]
DatasetName = Literal[SmallDatasetName, 'imagenet']


class Versions(TypedDict):
    """The versions of Python and the packages that trained."""

    openatac: str
    numpy: str
    python: str


class ResultSettings(TypedDict):
    """The devices and data that the result depends on, besides the options of the config."""

    devices: str
    data: str


class OptionalEntries(TypedDict, total=False):
    """Entries that only some summaries have."""

    act_type: Optional[str]
    attention: Optional[str]
    useGlobal: bool
    disturbed: bool
    validation_images: _Count
    test_accuracy: _Fraction
    test_top5_accuracy: _Fraction
    inexact_resumes: list[str]


class ImageCounts(OptionalEntries):
    """The numbers of images."""

    training_images: _Count
    test_images: _Count


class Facts(ImageCounts):
    """The entries about the network and the data."""

    model: str
    dataset: DatasetName


class Summary(Facts):
    """The summary.json of a finished run.

    ``best_accuracy`` and ``last_accuracy`` refer to the test images, unless the run has a ``test_accuracy``
    (of its best epoch): then they refer to ``validation_images`` held-out images.
    """

    command: str
    seed: Annotated[int, Bounds(0, MAX_SEED)]
    device: str
    threads: str
    epochs: _Count
    best_accuracy: _Fraction
    best_epoch: _Index
    last_accuracy: _Fraction
    images_per_second: _Speed
    settings: ResultSettings
    versions: Versions


class RunFolder:
    """The folder of a run of either script, finished or not."""

    def __init__(self, path: str) -> None:
        self.path = path

    def file(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.path, name)

    def config(self) -> Config:
        """Read the run's config from settings.json; OpenatacError if this is not the folder of a run."""
        try:
            return _config(read_json(self.file(SETTINGS), dict))
        except (OSError, ValueError) as error:
            raise OpenatacError(
                f'{self.path} is not the folder of a run (settings.json: {reason(error)}): give the '
                '--save-dir of a train-cifar or train-imagenet run') from None

    def summary(self) -> Summary:
        """Read summary.json; OSError, or ValueError if it is damaged or of an older version."""
        return read_json(self.file(SUMMARY), Summary)

    def history(self) -> dict[str, list[float]]:
        """Return {column of metrics.csv: its value after each epoch}; OSError, or ValueError if damaged."""
        rows = read_csv(self.file(METRICS_CSV))
        if not rows:
            raise ValueError('metrics.csv has no rows')
        return {column: [float(row[column]) for row in rows] for column in rows[0]}

    def epochs(self) -> int:
        """Count the epochs trained so far; OSError before the first."""
        return len(read_text(self.file(METRICS_JSONL)).splitlines())

    def network(self, library: Library | None = None) -> BuiltNetwork[Config]:
        """Return the run's network, in Gluon not yet initialised; OpenatacError if there is none.

        It is built with ``library``; for the default, see `openatac.training.networks.build.library_for`.
        """
        return self.build(self.config(), library)

    def build(self, config: Config, library: Library | None = None) -> BuiltNetwork[Config]:
        """Like `network`, for a config of this run that has already been read."""
        from openatac.training.networks.build import build_network
        try:
            # syncbn is for several devices
            return build_network(with_changes(config, syncbn=False), library)
        except UsageError as error:
            raise OpenatacError(f'{self.path} does not describe a network ({error}): its settings.json or '
                                'summary.json was changed, or was written by another version') from None


def config_of_summary(summary: Summary) -> Config:
    """Return the config in summary.json: the options that the result depends on, and otherwise defaults.

    Raises
    ------
    ValueError
        If it is damaged or of an older version.
    """
    settings: dict[str, Any] = dict(summary['settings'])
    # If a host is set, the network's name determines everything; otherwise the settings do.
    return _config({**settings, 'model': summary['model'] if settings.get('host') else BY_FLAGS})


def _config(settings: dict[str, Any]) -> Config:
    """Build the config of parsed settings; ValueError if they do not describe a run."""
    return from_json(config_type_of(settings), settings)
