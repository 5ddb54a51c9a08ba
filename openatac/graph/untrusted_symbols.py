"""Check the graphs of untrusted symbol files before MXNet or PyTorch loads them.

MXNet trusts a symbol file: it divides by a ``num_group`` of 0, follows references out of its tables, treats
numbers as addresses, and reads files that an operator names. So this module rebuilds each graph from its
checked parts, leaves out the rest, and passes only the rebuilt graph to MXNet.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

from openatac.files.schema import validate
from openatac.limits import Bounds

MAX_NODES, MAX_INPUTS, MAX_OUTPUTS = 50_000, 4096, 4096
MAX_TEXT = 4096             # characters in a name or an attribute
MAX_DEPTH = 2               # graphs within nodes of graphs, as in a fused operator
MAX_NUMBER = 2 ** 31 - 1
MAX_SIZE = 2 ** 20          # for sizes that an operator divides by or allocates
MAX_TENSOR = 2 ** 30        # elements, for one image

# Operators that take addresses, files, Python code or graphs, and operators for training.
_FORBIDDEN = re.compile(
    r'_Native|_NDArray|_CachedOp.*|_?Custom.*|_cv.*|_imdecode|_foreach|_while_loop|_cond|_CrossDeviceCopy|'
    r'_NoGradient|.*backward.*|.*_update.*|reset_arrays|_set_value|_copyto|.*_dgl_.*|.*lars|_slice_assign.*|'
    r'_crop_assign.*|_scatter_set_nd|_TensorRT.*|_TVM.*|_FusedOp.*|.*multi_all_finite|_contrib_count_sketch')
# Attributes that an operator divides by or allocates.
_SIZES = {'num_group', 'num_groups', 'num_filter', 'num_hidden', 'kernel', 'stride', 'dilate', 'num_outputs',
          'num_args', 'num_arrays', 'block_size', 'output_size', 'nsize', 'size', 'state_size', 'num_layers',
          'sections', 'heads', 'num_deformable_group', 'group_size', 'pooled_size', 'output_dim', 'input_dim',
          'kernel_size', 'stride1', 'stride2', 'max_displacement', 'num_weights', 'depth', 'sample_ratio',
          'repeats', 'reps', 'k', 'num', 'N', 'M', 'step', 'sample_per_part', 'part_size', 'feature_stride',
          'out_dim', 'processing_batch_size', 'compute_size', 'ngroups', 'groups', 'target_shape', 'h_w'}
# Sizes that count an operator's inputs or outputs: MXNet gives each a name.
_COUNTS = {'num_outputs', 'sections', 'num_args', 'num_arrays', 'num_weights', 'num_layers'}
_NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')
_ATTRIBUTES = ('attrs', 'attr', 'param')  # keys of the attributes; the last two predate MXNet 1.0

CountOutputs = Callable[[dict[str, Any]], int]  # of a node in parsed JSON


class _Node(TypedDict):
    op: str
    name: str
    inputs: list[list[int]]


class _Graph(TypedDict):
    nodes: list[_Node]
    arg_nodes: list[int]
    heads: list[list[int]]


def check_graph(graph: Any, count_outputs: CountOutputs | None = None, depth: int = 0) -> dict[str, Any]:
    """Rebuild the graph, parsed JSON, from its checked parts.

    Parameters
    ----------
    graph : parsed JSON
    count_outputs : callable, optional
        Maps a node to its number of outputs; by default, nodes can read only the first output of another
        node.
    depth : int
        In how many nodes of other graphs it lies.

    Raises
    ------
    ValueError
        For the first fault, or if it is beyond the limits above.
    """
    graph = validate(graph, _Graph)
    nodes: list[dict[str, Any]] = []
    if count_outputs is not None and depth == 0:
        count_outputs = _counting_once(count_outputs)
    _expect(depth <= MAX_DEPTH and 0 < len(graph['nodes']) <= MAX_NODES
            and 0 < len(graph['heads']) <= MAX_OUTPUTS, f'it must have 1 to {MAX_NODES} nodes and 1 to '
            f'{MAX_OUTPUTS} outputs, and graphs in graphs at most {MAX_DEPTH} deep')
    for node in graph['nodes']:
        nodes.append(_checked_node(node, nodes, count_outputs, depth))
    for output in graph['heads']:
        _check_entry(output, nodes, count_outputs, 'an output of the graph')
    variables = [index for index, node in enumerate(nodes) if node['op'] == 'null']
    _expect(graph['arg_nodes'] == variables, 'its arg_nodes are not its variables')
    return {'nodes': nodes, 'arg_nodes': variables, 'heads': graph['heads'], **_version(graph)}


def _counting_once(count_outputs: CountOutputs) -> CountOutputs:
    """Wrap ``count_outputs`` to run once per node; raise ValueError if nodes have too many outputs in all."""
    counts: dict[int, int] = {}
    total = 0

    def count(node: dict[str, Any]) -> int:
        nonlocal total
        if id(node) not in counts:
            counts[id(node)] = count_outputs(node)
            total += counts[id(node)]
            _expect(total <= MAX_NODES, f'its nodes have more than {MAX_NODES} outputs')
        return counts[id(node)]

    return count


def _checked_node(node: dict[str, Any], before: list[dict[str, Any]], count_outputs: CountOutputs | None,
                  depth: int) -> dict[str, Any]:
    """Rebuild the node from its checked parts; it may read only the nodes in ``before``."""
    name = node['name'][:80]
    _expect(max(len(node['name']), len(node['op'])) <= MAX_TEXT, f'the name of {name} is too long')
    _expect(not _FORBIDDEN.fullmatch(node['op']),
            f"node {name} has the operator {node['op'][:80]}, which no exported network needs")
    _expect(len(node['inputs']) <= MAX_INPUTS and not node.get('control_deps'),
            f'node {name} has more than {MAX_INPUTS} inputs, or control dependencies')
    _expect(node['op'] != 'null' or not node['inputs'], f'the variable {name} has inputs')
    for entry in node['inputs']:
        _check_entry(entry, before, count_outputs, f'node {name}')
    checked = {key: node[key] for key in ('op', 'name', 'inputs')}
    for key in _ATTRIBUTES:
        if key in node:
            checked[key] = validate(node[key], dict[str, str], name)
            for attribute, text in checked[key].items():
                _check_attribute(attribute, text, name)
    if node.get('subgraphs'):
        graphs = validate(node['subgraphs'], list[Any], name)
        _expect(len(graphs) == 1, f'node {name} has {len(graphs)} graphs')
        checked['subgraphs'] = [check_graph(graphs[0], count_outputs, depth + 1)]
    return checked


def _check_entry(entry: list[int], nodes: list[dict[str, Any]], count_outputs: CountOutputs | None,
                 who: str) -> None:
    """Check [node, output number], optionally with the version of an array changed in place."""
    _expect(len(entry) in (2, 3) and 0 <= entry[0] < len(nodes) and 0 <= entry[-1] <= MAX_NUMBER,
            f'{who} refers to a node that does not exist or comes later')
    node = nodes[entry[0]]
    output = entry[1]
    count = 1 if output == 0 or node['op'] == 'null' or count_outputs is None else count_outputs(node)
    _expect(0 <= output < count,
            f"{who} refers to output {output} of node {node['name'][:80]}, which has {count}")


def _check_attribute(attribute: str, text: str, name: str) -> None:
    _expect(len(text) <= MAX_TEXT and len(attribute) <= MAX_TEXT,
            f'an attribute of {name} is longer than {MAX_TEXT} characters')
    if attribute.startswith('__') and attribute != '__shape__':
        return  # added by Gluon, and not an operator's argument
    for number in _NUMBER.findall(text):
        whole = number.lstrip('+-').isdecimal()
        low, high = (-MAX_NUMBER, MAX_NUMBER) if whole else (-math.inf, math.inf)
        if attribute in _SIZES:
            low = 1 if whole else 0
            high = MAX_INPUTS if attribute in _COUNTS else MAX_SIZE
        _expect(low <= float(number) <= high,
                f'{attribute} of {name} is {text[:80]}, where a number must be from {low} to {high}')


def _version(graph: dict[str, Any]) -> dict[str, Any]:
    """Return {'attrs': the MXNet version}, without other attributes; {} if the version is missing."""
    attributes = validate(graph.get('attrs', {}), dict[str, Any])
    if 'mxnet_version' not in attributes:
        return {}
    kind, number = validate(attributes['mxnet_version'],
                            tuple[Literal['int'], Annotated[int, Bounds(0, 99999)]], 'mxnet_version')
    return {'attrs': {'mxnet_version': [kind, number]}}


def _expect(holds: Any, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
