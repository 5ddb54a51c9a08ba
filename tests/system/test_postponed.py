"""Libraries that MXNet imports but hardly uses are imported on first use."""
import pytest

from tests.helpers.processes.fresh_python import output_of


def test_loading_mxnet_does_not_load_postponed_modules():
    code = 'import sys, openatac, mxnet; print([name in sys.modules for name in ("sklearn", "scipy.stats")])'
    assert output_of(code) == '[False, False]'


def test_postponed_modules_load_on_first_use():
    pytest.importorskip('sklearn')
    code = ('import openatac, mxnet, mxnet.test_utils, scipy.stats, sys\n'
            'from mxnet.contrib import quantization\n'
            'print(quantization.stats.entropy is scipy.stats.entropy is mxnet.test_utils.ss.entropy)\n'
            'from sklearn.base import BaseEstimator\n'
            'print(BaseEstimator.__module__)')
    assert output_of(code).splitlines() == ['True', 'sklearn.base']


def test_mxnet_uses_modules_that_are_already_loaded():
    pytest.importorskip('sklearn')
    code = ('import scipy.stats, sklearn.base, openatac, mxnet\n'
            'from mxnet.contrib import quantization\n'
            'print(quantization.stats is scipy.stats)\n'
            'print(issubclass(mxnet.model.FeedForward, sklearn.base.BaseEstimator))')
    assert output_of(code) == 'True\nTrue'


def test_without_scipy_mxnet_reports_that_it_is_needed(tmp_path):
    (tmp_path / 'scipy').mkdir()
    (tmp_path / 'scipy' / '__init__.py').write_text('raise ImportError("no SciPy")')
    code = 'import openatac, mxnet; from mxnet.contrib import quantization; print(quantization.stats)'
    assert output_of(code, path=[tmp_path]) == 'None'
