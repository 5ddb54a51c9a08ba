"""Record which block of a Gluon network gets which inputs, by running it on a symbol instead of images.

This computes nothing, so weights, running statistics and random numbers do not change.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import mxnet as mx
from mxnet.gluon.block import Block, HybridBlock, SymbolBlock

from openatac.errors import last_line
from openatac.graph.nodes import INPUT
from openatac.replacement.gluon.known_activations import is_activation_or_gate

OWNER = '__owner__'  # the attribute that names the block which created a node

Calls = dict[Block, list[mx.sym.Symbol]]  # {block: the input of each of its calls}


class NestedBlock(NamedTuple):
    """A block in a network: its structural name, that name's last part, and its parents, outermost first."""

    name: str
    key: str
    block: Block
    parents: tuple[Block, ...]


def nested_blocks(block: Block, name: str = '', key: str = '', parents: tuple[Block, ...] = ()
                  ) -> Iterator[NestedBlock]:
    """Yield a block and all blocks in it, except the parts of activations and gates."""
    yield NestedBlock(name, key, block, parents)
    if not is_activation_or_gate(block):
        for key, child in block._children.items():
            yield from nested_blocks(child, f'{name}.{key}' if name else key, key, (*parents, block))


def record_calls(net: HybridBlock) -> tuple[Calls, list[mx.sym.Symbol]]:
    """Run a network on a symbol.

    Returns
    -------
    (dict, list of Symbol)
        {block: the input of each of its calls}, and the network's outputs. Each node of the symbols has the
        attribute `OWNER`.

    Raises
    ------
    ValueError
        If the network cannot run on a symbol.
    """
    names: dict[Block, str] = {}
    for nested in nested_blocks(net):
        names.setdefault(nested.block, nested.name)
    calls: Calls = {block: [] for block in names}
    with mx.name.NameManager(), _variables_kept(net), _recording(names, calls):
        try:
            return calls, list(_flat(net(mx.sym.var(INPUT))))
        except Exception as error:
            raise ValueError(f'{type(net).__name__} cannot run on a symbol, as hybridize requires: '
                             f'{last_line(error)}') from error


@contextlib.contextmanager
def _variables_kept(net: HybridBlock) -> Iterator[None]:
    """Restore the parameters' symbols at the end: new ones have `OWNER`, and the current precision."""
    variables = {parameter: parameter._var for parameter in net.collect_params().values()}
    try:
        yield
    finally:
        for parameter, variable in variables.items():
            parameter._var = variable


@contextlib.contextmanager
def _recording(names: dict[Block, str], calls: Calls) -> Iterator[None]:
    """Add the inputs of each call to ``calls``, and the block's name to each node it creates."""
    scopes: list[mx.AttrScope] = []

    def enter(block: Block, inputs: Any) -> None:
        calls[block].append(inputs[0])
        scopes.append(mx.AttrScope(**{OWNER: names[block]}))
        scopes[-1].__enter__()

    def leave(block: Block, inputs: Any, outputs: Any) -> None:
        scopes.pop().__exit__(None, None, None)
        if isinstance(block, SymbolBlock):  # its nodes already existed
            for node in mx.sym.Group(list(_flat(outputs))).get_internals():
                if node.attr(OWNER) is None:
                    node._set_attr(**{OWNER: names[block]})

    with contextlib.ExitStack() as hooks:
        for block in names:
            hooks.callback(block.register_forward_pre_hook(enter).detach)
            hooks.callback(block.register_forward_hook(leave).detach)
        try:
            yield
        finally:
            while scopes:  # after an error
                scopes.pop().__exit__(None, None, None)


def _flat(outputs: Any) -> Iterator[mx.sym.Symbol]:
    if isinstance(outputs, mx.sym.Symbol):
        yield outputs
    else:
        for output in outputs:
            yield from _flat(output)
