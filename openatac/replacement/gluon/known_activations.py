"""Recognise activations among the blocks of a Gluon network and the operators of a graph."""
from __future__ import annotations

import functools

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import Block

from openatac.graph.nodes import Node
from openatac.registry import Factories
from openatac.zoo.units import ACTIVATIONS

RECTIFIERS = ('relu', 'softrelu')  # in Gluon's Activation; its sigmoid, tanh and softsign are gates
ACTIVATION_CLASS_NAMES = ('ReLU6', 'RELU6', 'HardSwish')  # from GluonCV and Gluon's model zoo
GATE_CLASS_NAMES = ('HardSigmoid',)  # GluonCV's contains a ReLU6 that does not act as an activation
CONTAINERS = (nn.HybridSequential, nn.HybridLambda)  # possible classes of registered activations


def is_activation(block: Block) -> bool:
    """Return whether a block is an activation."""
    if isinstance(block, nn.Activation):
        return block._act_type in RECTIFIERS
    return (isinstance(block, _classes_of(ACTIVATIONS.values()))
            or type(block).__name__ in ACTIVATION_CLASS_NAMES)


def is_activation_or_gate(block: Block) -> bool:
    """Return whether a block is an activation or a gate; its parts then do not count as activations."""
    return (is_activation(block) or isinstance(block, nn.Activation)
            or type(block).__name__ in GATE_CLASS_NAMES)


def activation_of(node: Node) -> str | None:
    """Return the name of the activation that a node computes; None for other nodes."""
    if node.operator == 'LeakyReLU' or (
            node.operator == 'Activation' and node.get('act_type') in RECTIFIERS):
        return node.get('act_type')
    if node.operator == 'clip' and (node.get('a_min'), node.get('a_max')) == (0, 6):
        return 'relu6'
    if node.operator == 'relu' or (node.operator == '_maximum_scalar' and node.get('scalar') == 0):
        return 'relu'
    return None


@functools.cache
def _classes_of(units: tuple[Factories, ...]) -> tuple[type, ...]:
    with mx.name.NameManager():  # building these must not change the names of other blocks
        ours = {type(unit.gluon(64)) for unit in units if unit.has('gluon')}
    return tuple(ours - {nn.Activation, *CONTAINERS} | {nn.LeakyReLU, nn.PReLU})
