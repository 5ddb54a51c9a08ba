"""An ONNX graph under construction: operators, constants and known shapes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from openatac.graph.nodes import INPUT, Node, SymbolicShape

OUTPUT = 'output'

Tensor = str  # tensors are identified by name


class Operator(NamedTuple):
    """One operator of the graph."""

    kind: str
    inputs: list[Tensor]
    output: Tensor
    attributes: dict[str, Any]


class OnnxGraph:
    """Operators, added in order; each reads only tensors that already exist.

    Its input is called `INPUT`, and its output `OUTPUT`.

    Attributes
    ----------
    operators : list of Operator
        Each comes after the operators whose outputs it reads.
    constants : {tensor: numpy.ndarray}
    tensors : {Node: tensor}
        The output of each node added so far.
    shapes : {tensor: shape}
        Where known; see `openatac.graph.constants`.
    label : str
        The outputs of the next operators are named after it.
    """

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self.constants: dict[Tensor, np.ndarray] = {}
        self.tensors: dict[Node, Tensor] = {}
        self.shapes: dict[Tensor, SymbolicShape] = {}
        self.label = ''
        self._taken = {INPUT, OUTPUT}
        self._equal: dict[Any, Tensor] = {}  # the constant of each value
        self._views: dict[Tensor, tuple[Tensor, SymbolicShape]] = {}  # reshaped tensor -> original, its shape

    def add(self, kind: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        """Add an operator, without attributes that are None; return its output."""
        given = {key: value for key, value in attributes.items() if value is not None}
        self.operators.append(Operator(kind, list(inputs), self._unique(self.label), given))
        return self.operators[-1].output

    def constant(self, value: Any, dtype: type = np.float32) -> Tensor:
        """Add an unnamed constant; equal values share one."""
        value = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = value.dtype, value.shape, value.tobytes()
        if key not in self._equal:
            self._equal[key] = self.parameter('constant', value)
        return self._equal[key]

    def parameter(self, name: str, value: np.ndarray) -> Tensor:
        """Add a named constant; floating-point numbers become float32."""
        if np.issubdtype(value.dtype, np.floating):
            value = value.astype(np.float32, copy=False)
        name = self._unique(name)
        self.constants[name] = value
        return name

    def reshape(self, x: Tensor, shape: SymbolicShape, to: SymbolicShape) -> Tensor:
        """Reshape ``x`` from ``shape`` (() if unknown) to ``to``; a size of -1 is inferred."""
        if x in self.constants:
            return x if shape == to else self.constant(self.constants[x].reshape(to))
        x, shape = self._views.get(x, (x, shape))
        if shape == to:
            return x
        # In ONNX, 0 copies the input's size on that axis, and -1 is inferred.
        sizes = [(0 if shape[axis:axis + 1] == (size,) else -1) if isinstance(size, str) else size
                 for axis, size in enumerate(to)]
        output = self.add('Reshape', x, self.constant(sizes, np.int64))
        self._views[output] = x, shape
        return output

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Permute the axes of ``x``."""
        if x in self.constants:
            return self.constant(self.constants[x].transpose(axes))
        return self.add('Transpose', x, perm=list(axes))

    def finish(self, result: Tensor) -> None:
        """Make the tensor ``result`` the output, and drop everything that does not lead to it."""
        if all(operator.output != result for operator in self.operators):  # an input or a constant
            result = self.add('Identity', result)
        needed, kept = {result}, []
        for operator in reversed(self.operators):
            if operator.output in needed:
                needed.update(operator.inputs)
                kept.append(operator)
        rename = {result: OUTPUT}
        self.operators = [operator._replace(inputs=[rename.get(name, name) for name in operator.inputs],
                                            output=rename.get(operator.output, operator.output))
                          for operator in reversed(kept)]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        self.shapes = {rename.get(name, name): shape for name, shape in self.shapes.items() if name in needed}

    def _unique(self, name: str) -> Tensor:
        count, unique = 0, name
        while unique in self._taken:
            count += 1
            unique = f'{name}_{count}'
        self._taken.add(unique)
        return unique
