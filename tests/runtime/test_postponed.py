"""The libraries that MXNet imports and hardly uses are imported when they are used."""
import pytest

from tests.helpers.fresh_python import output_of


def test_loading_mxnet_loads_none_of_them():
    code = 'import sys, openatac, mxnet; print([name in sys.modules for name in ("sklearn", "scipy.stats")])'
    assert output_of(code) == '[False, False]'


def test_they_load_when_they_are_used():
    pytest.importorskip('sklearn')
    code = ('import openatac, mxnet, mxnet.test_utils, scipy.stats, sys\n'
            'from mxnet.contrib import quantization\n'
            'print(quantization.stats.entropy is scipy.stats.entropy is mxnet.test_utils.ss.entropy)\n'
            'from sklearn.base import BaseEstimator\n'
            'print(BaseEstimator.__module__)')
    assert output_of(code).splitlines() == ['True', 'sklearn.base']


def test_mxnet_uses_them_at_once_where_they_are_loaded_already():
    pytest.importorskip('sklearn')
    code = ('import scipy.stats, sklearn.base, openatac, mxnet\n'
            'from mxnet.contrib import quantization\n'
            'print(quantization.stats is scipy.stats)\n'
            'print(issubclass(mxnet.model.FeedForward, sklearn.base.BaseEstimator))')
    assert output_of(code) == 'True\nTrue'


def test_without_scipy_mxnet_itself_says_that_it_is_needed(tmp_path):
    (tmp_path / 'scipy').mkdir()
    (tmp_path / 'scipy' / '__init__.py').write_text('raise ImportError("no SciPy")')
    code = 'import openatac, mxnet; from mxnet.contrib import quantization; print(quantization.stats)'
    assert output_of(code, path=[tmp_path]) == 'None'
