"""An ONNX graph while it is built: operators, constants, and the shapes that are known."""
from typing import Any, NamedTuple

import numpy as np


class Operator(NamedTuple):
    """One operator of the graph; its tensors by name."""

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class OnnxGraph:
    """Operators are added one after the other, each fed by tensors that are there; tensors are names.

    operators : list of `Operator`, each after those that feed it.
    constants : {tensor: NumPy array}.
    tensors : {`openatac.graph.nodes.Node`: tensor} of the nodes that are written.
    shapes : {tensor: shape} of those whose shape was told; strings in it depend on the batch, see
        `openatac.graph.constants`.
    label : what the next operators' outputs are named after.
    """

    def __init__(self, inputs):
        self.operators, self.constants, self.tensors, self.shapes, self.label = [], {}, {}, {}, ''
        self._taken = set(inputs)
        self._equal = {}  # the constant of each value
        self._views = {}  # the tensor that a reshaped one has its values from, and its shape

    def add(self, kind, *inputs, **attributes):
        """Add an operator of ONNX's; returns its output. Attributes that are None are left out."""
        given = {key: value for key, value in attributes.items() if value is not None}
        self.operators.append(Operator(kind, list(inputs), self._unique(self.label), given))
        return self.operators[-1].output

    def constant(self, value, dtype=np.float32):
        """A constant that is no parameter; equal ones are one."""
        value = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = value.dtype, value.shape, value.tobytes()
        if key not in self._equal:
            self._equal[key] = self.parameter('constant', value)
        return self._equal[key]

    def parameter(self, name, value):
        """A constant with a name of its own, in float32 if it is of floating point."""
        if np.issubdtype(value.dtype, np.floating):
            value = value.astype(np.float32, copy=False)
        name = self._unique(name)
        self.constants[name] = value
        return name

    def reshape(self, x, shape, to):
        """``x``, of ``shape`` (() if it is not known), in the shape ``to``; a size of -1 is what is left."""
        if x in self.constants:
            return x if shape == to else self.constant(self.constants[x].reshape(to))
        x, shape = self._views.get(x, (x, shape))
        if shape == to:
            return x
        # ONNX: 0 is the input's own dimension at that place, -1 what is left.
        sizes = [(0 if shape[axis:axis + 1] == (size,) else -1) if isinstance(size, str) else size
                 for axis, size in enumerate(to)]
        output = self.add('Reshape', x, self.constant(sizes, np.int64))
        self._views[output] = x, shape
        return output

    def transpose(self, x, axes):
        """``x`` with its axes in another order."""
        if x in self.constants:
            return self.constant(self.constants[x].transpose(axes))
        return self.add('Transpose', x, perm=list(axes))

    def finish(self, result, output):
        """Name the tensor ``result`` ``output``, and drop what does not lead to it."""
        if all(operator.output != result for operator in self.operators):  # an input or a constant
            result = self.add('Identity', result)
        needed, kept = {result}, []
        for operator in reversed(self.operators):
            if operator.output in needed:
                needed.update(operator.inputs)
                kept.append(operator)
        rename = {result: output}
        self.operators = [operator._replace(inputs=[rename.get(name, name) for name in operator.inputs],
                                            output=rename.get(operator.output, operator.output))
                          for operator in reversed(kept)]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        self.shapes = {rename.get(name, name): shape for name, shape in self.shapes.items() if name in needed}

    def _unique(self, name):
        count, unique = 0, name
        while unique in self._taken:
            count += 1
            unique = '%s_%d' % (name, count)
        self._taken.add(unique)
        return unique
