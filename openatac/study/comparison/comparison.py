"""Runs grouped by unit and depth, to be compared, and their common properties."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from openatac.study.comparison.comparable import check_comparable, shared_settings
from openatac.study.finished_runs import FinishedRun
from openatac.text import counted
from openatac.training.run_folder import RunFolder

if TYPE_CHECKING:
    from openatac.study.costs import gluon_costs, torch_costs

MEASURES = ('best_accuracy', 'last_accuracy', 'test_accuracy')


class Group(NamedTuple):
    """The runs of one unit and depth, with different seeds.

    Attributes
    ----------
    unit : str
    blocks : int
        Per stage.
    runs : list of FinishedRun
    parameters : int
        Trainable ones.
    multiply_adds : int
        For one image.
    """

    unit: str
    blocks: int
    runs: list[FinishedRun]
    parameters: int
    multiply_adds: int

    def values(self, measure: str) -> list[float]:
        """Return the value of one of `MEASURES` for each run."""
        return [run.summary[measure] for run in self.runs]  # type: ignore[literal-required]

    def speeds(self) -> list[float]:
        """Return the images/s of each run, without runs that other processes disturbed."""
        return [run.summary['images_per_second'] for run in self.runs if not run.summary.get('disturbed')]


def group_runs(runs: Sequence[FinishedRun]) -> list[Group]:
    """Return the `Group`s of runs, by depth and parameters; raise OpenatacError if not comparable."""
    check_comparable(runs)
    members: dict[tuple[int, str], dict[int, FinishedRun]] = {}
    for run in runs:
        members.setdefault((run.blocks, run.unit), {})[run.seed] = run
    groups = []
    for (blocks, unit), by_seed in members.items():
        several = [by_seed[seed] for seed in sorted(by_seed)]
        costs = _costs(several[0])
        groups.append(Group(unit, blocks, several, costs.trainable, costs.multiply_adds))
    return sorted(groups, key=lambda group: (group.blocks, group.parameters, group.unit))


def _costs(run: FinishedRun) -> gluon_costs.Costs | torch_costs.TotalCosts:
    from openatac.library import PYTORCH, library_of
    net = RunFolder(run.folder).build(run.config).net
    if library_of(net) is PYTORCH:
        from openatac.study.costs import torch_costs
        return torch_costs.costs(net, run.config.image_shape)
    from openatac.study.costs import gluon_costs
    return gluon_costs.costs(net, run.config.image_shape)


class Comparison(NamedTuple):
    """Groups of comparable runs, and how to compare them.

    Attributes
    ----------
    groups : sequence of Group
    measure : str
        The one of `MEASURES` that figures show and tests compare.
    against : str or None
        The unit to test against all others; see `openatac.study.comparison.differences`.
    note : str
        A note on the data, for every figure, or ''.
    """

    groups: Sequence[Group]
    measure: str = 'last_accuracy'
    against: str | None = None
    note: str = ''

    @property
    def runs(self) -> list[FinishedRun]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]

    @property
    def measures(self) -> list[str]:
        """The `MEASURES` that all runs have; ``test_accuracy`` requires a validation split."""
        return [measure for measure in MEASURES if all(measure in run.summary for run in self.runs)]

    @property
    def images_of_epochs(self) -> str:
        """The kind of images that each epoch was evaluated on: 'validation' or 'test'."""
        return 'validation' if 'test_accuracy' in self.measures else 'test'

    @property
    def data_set(self) -> str:
        """The name of the data set, such as 'cifar100 (20 superclasses)', with the note on it."""
        run = self.runs[0]
        shared = shared_settings(run)
        labels = {'coarse': ' (20 superclasses)', 'fine': ' (100 classes)'}.get(
            shared.get('cifar100_labels', ''), '')
        if shared.get('class_names'):
            labels = f' ({len(shared["class_names"])} classes)'
        return run.summary['dataset'] + labels + (f' ({self.note})' if self.note else '')

    @property
    def dates(self) -> str:
        """The start dates of the runs, such as '2026-11-23 to 2026-11-24'; '' if their logs lack them."""
        days = sorted({run.date for run in self.runs} - {''})
        return ' to '.join(dict.fromkeys((days[0], days[-1]))) if days else ''

    def describe_measure(self, noun: str = 'accuracy') -> str:
        """Describe the measure, as an accuracy or, with another ``noun``, as an error."""
        return {'best_accuracy': f'best {self.images_of_epochs} {noun} of all epochs',
                'last_accuracy': f'{self.images_of_epochs} {noun} after the last epoch',
                'test_accuracy': f'test {noun} of the best epoch'}[self.measure]


def describe_seeds(groups: Sequence[Group]) -> str:
    """Return the number of seeds in the groups, such as '1 seed' or '2 to 3 seeds'."""
    counts = [len(group.runs) for group in groups]
    fewest = min(counts)
    most = counted(max(counts), 'seed')
    return most if fewest == max(counts) else f'{fewest} to {most}'
