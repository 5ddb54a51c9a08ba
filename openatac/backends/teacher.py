"""The teacher of a distillation, and the errors about it that both backends raise."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from openatac.errors import OpenatacError, OtherClassesError, ParameterFileError
from openatac.zoo.weights.pretrained import bundled_file, pretrained_names


class Teacher(NamedTuple):
    """The teacher of a distillation.

    Attributes
    ----------
    network : str
    params : str or None
        Its parameter file.
    required_classes : int
        The number of classes of the network in training, which the teacher must have too.
    """

    network: str
    params: str | None
    required_classes: int

    def with_bundled_file(self) -> Teacher:
        """Return the teacher with the bundled weights of its network, if it names none and there are some."""
        if self.params or self.network.lower() not in pretrained_names():
            return self
        return self._replace(params=bundled_file(self.network))

    def required_file(self) -> str:
        """Return the teacher's parameter file, ``params``; raise OpenatacError if there is none."""
        if not self.params:
            raise OpenatacError(f'--teacher {self.network}: openatac has no trained weights for it; give a '
                                'file with --teacher-params')
        return self.params

    def check_classes(self, classes: int) -> None:
        """Raise OpenatacError unless the teacher's network has as many classes as the one in training."""
        if classes != self.required_classes:
            raise OpenatacError(f'the teacher {self.network} has {classes} classes, but the network has '
                                f'{self.required_classes}: choose a teacher with the same classes')

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Name the teacher in errors about its parameters, which the body loads."""
        try:
            yield
        except ParameterFileError as error:
            if isinstance(error, OtherClassesError):
                self.check_classes(error.classes)
            raise ParameterFileError(f'the teacher {self.network}: {error}') from None
