"""The trained networks that ship with the package, and the model card of each.

Each is a folder in ``openatac/pretrained/``, named after its network: the parameters of the last epoch in
float16, the settings of the run, and the card. `benchmarks/pretrained_networks.py` makes them.
"""
from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NamedTuple

from openatac.errors import ParameterFileError, UsageError
from openatac.files.export_file_names import MANIFEST_SUFFIX
from openatac.files.reading import PathLike
from openatac.files.run_file_names import BEST
from openatac.files.schema import read_json
from openatac.limits import Bounds

FOLDER = str(Path(__file__).parents[2] / 'pretrained')
WEIGHTS, CARD = 'weights.params', 'card.json'

_Fraction = Annotated[float, Bounds(0, 1)]


class ModelCard(NamedTuple):
    """The description of a trained network.

    Attributes
    ----------
    network : str
        Its name in the zoo.
    data : str
        A sentence about the training and test data.
    classes : list of str
    accuracy : float
        The accuracy of these weights on the test images, after the last epoch.
    test_images : int
    best_accuracy : float
        The best accuracy of all epochs of the run, chosen on the test images.
    accuracies : list of float
        After the last epoch of each run of this recipe, with different seeds.
    command : str
        The training command.
    epochs, seed : int
    date, commit : str
        The date of the training, and the version of the code.
    versions : dict
        {package: version}
    licence : str
    not_for : str
        The uses it is not suited for.
    sha256 : str
        The hash of the weights.
    """

    network: str
    data: str
    classes: list[str]
    accuracy: _Fraction
    test_images: int
    best_accuracy: _Fraction
    accuracies: list[_Fraction]
    command: str
    epochs: int
    seed: int
    date: str
    commit: str
    versions: dict[str, str]
    licence: str
    not_for: str
    sha256: str


class Pretrained(NamedTuple):
    """A parameter file to start from, and the structural name of the network's last dense layer.

    The file can be from a network with other classes: see `openatac.zoo.weights.loading.pretrained_arrays`.
    """

    path: str | os.PathLike[str]
    head: str


def pretrained_names() -> list[str]:
    """Return the names of the networks with trained weights."""
    return sorted(name for name in os.listdir(FOLDER) if os.path.exists(os.path.join(FOLDER, name, CARD)))


def model_card(name: str) -> ModelCard:
    """Return the card of a trained network.

    Raises
    ------
    UsageError
        If no trained weights have that name; the message lists the available ones.
    """
    return read_json(os.path.join(_folder(name), CARD), ModelCard)


def bundled_file(name: str) -> str:
    """Return the path of a network's trained weights; raise the errors of `model_card`."""
    return os.path.join(_folder(name), WEIGHTS)


def resolve_parameter_file(text: str) -> str:
    """Return the parameter file that ``text`` names: its path, a run, or a network with trained weights.

    Raises
    ------
    ParameterFileError
        If it is none of these.
    """
    best = os.path.join(text, BEST)
    if os.path.isfile(best):
        return best
    is_path = os.path.basename(text) != text or '.' in text
    if is_path or os.path.exists(text) or os.path.exists(text + MANIFEST_SUFFIX):  # the manifest of an export
        return text
    try:
        return bundled_file(text)
    except UsageError as error:
        raise ParameterFileError(f'there is no file or export {text}, and {error}') from None


def pretrained_file(name: str, pretrained: bool | PathLike) -> str | None:
    """Return the parameter file for ``get_model(name, pretrained=pretrained)``; None for False."""
    if pretrained is True:
        return bundled_file(name)
    return resolve_parameter_file(os.fspath(pretrained)) if pretrained else None


def _folder(name: str) -> str:
    known = pretrained_names()
    if name.lower() not in known:
        raise UsageError(f'no trained weights of {name} come with openatac, only of {", ".join(known)}')
    return os.path.join(FOLDER, name.lower())
