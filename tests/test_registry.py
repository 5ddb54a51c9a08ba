"""The registry: names, aliases, order, and the error for an unknown name."""
import pytest

import openatac
from openatac.registry import Registry, arguments_of, bind_accepted
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS


def test_names_are_case_insensitive_and_have_an_alias():
    assert ACTIVATIONS.name_of('CHAATAC') == ACTIVATIONS.name_of('Atac') == 'ChaATAC'
    assert ACTIVATIONS.find('atac').gluon is openatac.ChaATAC and ATTENTIONS.name_of('SE') == 'se'


@pytest.mark.parametrize('name, near', [('ChaATC', 'chaatac'), ('reluu', 'relu'), (None, None), (3, None)])
def test_unknown_name_lists_the_valid_ones_and_the_nearest(name, near):
    with pytest.raises(ValueError, match='act_type') as error:
        ACTIVATIONS.find(name)
    assert repr(name) in str(error.value) and all(valid in str(error.value) for valid in ACTIVATIONS)
    assert near is None or str(error.value).lower().endswith(f'{near}?')


def test_registry_keeps_order_and_unregisters_all_names():
    registry = Registry('kind')
    registry.register('B', 1, alias='second')
    registry.register('a', 2)
    assert list(registry) == ['B', 'a'] and registry.values() == (1, 2)
    assert registry.short_name('b') == 'second' and registry.short_name('A') == 'a'
    registry.unregister('second')
    registry.register('second', 3)
    assert list(registry) == ['a', 'second']


def test_settings_are_read_from_signatures():
    def factory(channels, r=2, **kwargs):
        """Take two settings."""

    assert arguments_of(factory) == ('channels', 'r')
    assert arguments_of(bind_accepted(factory, r=3, reduction=4)) == ('channels', 'r')
    assert bind_accepted(factory, r=3, reduction=4).keywords == {'r': 3}


def test_invalid_names_are_refused():
    for name in ('3d', 'a b', 'a-b', ''):
        with pytest.raises(ValueError, match=repr(name)):
            Registry('kind').register(name, 1)
    Registry('kind', hyphens=True).register('a-b', 1)
