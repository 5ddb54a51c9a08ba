"""What the files in a run's folder hold: settings.json, summary.json and the state of a checkpoint.

`openatac.training.session` and `openatac.training.loop` write them; whoever reads one holds it against these
types (see `openatac.files.schema`), which leave older files without newer keys as they are.
"""
from typing import Annotated, Any, Dict, List, Literal, Optional, TypedDict

from openatac.arguments import BLOCKS, CHANNELS, CLASSES, SEED, SIDE
from openatac.files.schema import Range

_Count = Annotated[int, Range(1, 2 ** 40)]
_Index = Annotated[int, Range(-1, 2 ** 40)]
_Share = Annotated[float, Range(0, 1)]
_Ratio = Annotated[float, Range(1, CHANNELS)]
_Speed = Annotated[float, Range(0, 1e9)]


class Settings(TypedDict, total=False):
    """The flags of either script of which others read: the network and its data."""

    model: str
    host: Optional[str]
    blocks: Annotated[int, Range(1, BLOCKS)]
    act_type: str
    attention: Optional[str]
    self_attention: Optional[Literal['aa', 'fa']]
    reduction: _Ratio
    r: _Ratio
    act_layers: Annotated[int, Range(0, 4)]
    useGlobal: bool
    useReLU: bool
    use_gn: bool
    last_gamma: bool
    drop_rate: _Share
    num_classes: Annotated[int, Range(2, CLASSES)]
    input_size: Annotated[int, Range(1, SIDE)]
    crop_ratio: _Share
    dataset: Literal['cifar10', 'cifar100', 'digits', 'imagenet']
    cifar100_labels: Literal['fine', 'coarse']
    data_dir: Optional[str]
    use_rec: bool
    rec_train: Optional[str]
    rec_train_idx: Optional[str]
    rec_val: Optional[str]
    rec_val_idx: Optional[str]
    max_bad_share: _Share
    batch_size: _Count
    num_epochs: _Count
    seed: Annotated[int, Range(0, SEED)]
    num_gpus: Annotated[int, Range(0, 64)]
    devices: str
    data: str
    resume_from: Optional[str]
    resume_params: Optional[str]


class Versions(TypedDict):
    """By package, and of Python."""

    openatac: str
    numpy: str
    python: str


class _Results(TypedDict, total=False):
    command: str
    epochs: _Count
    best_accuracy: _Share
    best_epoch: _Index
    last_accuracy: _Share
    versions: Versions


class Summary(_Results):
    """summary.json, which a finished run has; what it reached is read of runs of train_cifar.py only."""

    model: str
    dataset: Literal['cifar10', 'cifar100', 'digits', 'imagenet']
    training_images: _Count
    test_images: _Count
    seed: Annotated[int, Range(0, SEED)]
    device: str
    threads: str
    images_per_second: _Speed
    settings: Settings


class _Engine(TypedDict):
    iteration: Annotated[int, Range(0, 2 ** 60)]
    images: Annotated[int, Range(0, 2 ** 60)]


class _Best(TypedDict):
    accuracy: float
    epoch: _Index


class _Progress(TypedDict):
    epoch: Annotated[int, Range(0, 2 ** 40)]
    batch: Annotated[int, Range(0, 2 ** 40)]
    history: List[Dict[str, float]]
    best: _Best


class State(TypedDict):
    """state.json of a checkpoint."""

    settings: Dict[str, Any]
    engine: _Engine
    progress: _Progress
