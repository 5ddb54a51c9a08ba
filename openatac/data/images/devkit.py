"""Read the classes from ImageNet's development kit, a MATLAB file."""
from __future__ import annotations

import io

from openatac.errors import DataError
from openatac.files.reading import TEXT_LIMIT, opening, read_input

DEVKIT_CLASSES = 'meta.mat'


def read_devkit_classes(path: str) -> tuple[str, ...]:
    """Return the leaf synsets (WNIDs) in ``meta.mat``, in the order of ILSVRC2012_ID, which begins at 1.

    Raises
    ------
    DataError
        If the file is damaged or not the devkit's, or SciPy is missing.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f'{path} needs SciPy, which cannot be imported ({error}): run pip install scipy'
                        ) from error
    with opening(f'the classes {path}'):
        data = read_input(path, TEXT_LIMIT)
    try:
        synsets = loadmat(io.BytesIO(data), squeeze_me=True)['synsets']
        leaves = {int(synset['ILSVRC2012_ID']): str(synset['WNID']) for synset in synsets
                  if synset['num_children'] == 0}
        return tuple(leaves[number] for number in range(1, len(leaves) + 1))
    except Exception as error:  # SciPy raises many kinds for damaged files
        raise DataError(f"{path} is not the devkit's list of synsets, or is damaged ({error}): download it "
                        'again, or remove it and list the classes in a file for --class-list') from error
