"""The import hook for packages named mxnet, and for GluonCV."""
import numpy as np
import pytest

from tests.helpers.processes.fresh_python import output_of

REMOVED = ('int', 'NaN', 'npv', 'PZERO', 'in1d')
OLD_NUMPY = f"""
import openatac, mxnet, numpy, pickle
pinf, linalg, irr = mxnet.late.late()
print(mxnet.Inf, pinf, linalg is numpy.linalg)
print(mxnet.np.float32 is numpy.float32, pickle.loads(pickle.dumps(mxnet.float_)) is numpy.float64)
print([hasattr(mxnet.np, name) == hasattr(numpy, name) for name in ('isdtype', 'nonsense')])
print([name for name in {REMOVED!r} if name in vars(numpy)])
try:
    irr()
except (NotImplementedError, RuntimeError) as error:  # the latter is NumPy's own, in versions that had one
    print('no irr')
"""


def test_every_module_and_function_of_mxnet_gets_the_old_numpy(package):
    path = package('import numpy as np\n'
                   'from numpy import Inf, float_, cumproduct\n'
                   'from . import late\n'
                   'assert np.bool in (bool, np.bool_) and np.int is int and np.alltrue(np.ones(2))\n',
                   late='def late():\n'
                        '    import numpy.linalg\n'
                        '    return numpy.PINF, numpy.linalg, numpy.irr\n')
    present = [name for name in REMOVED if name in vars(np)]
    assert output_of(OLD_NUMPY, path=path).splitlines() == [
        'inf inf True', 'True True', '[True, True]', str(present), 'no irr']


def test_failed_import_can_be_retried(package):
    path = package('import numpy, os\n'
                   'if not os.path.exists(__file__ + ".tried"):\n'
                   '    open(__file__ + ".tried", "w").close()\n'
                   '    raise RuntimeError("once")\n'
                   'value = numpy.PZERO\n')
    code = ('import openatac\n'
            'try: import mxnet\n'
            'except RuntimeError as error: print(error)\n'
            'import mxnet; print(mxnet.value)')
    assert output_of(code, path=path) == 'once\n0.0'


def test_mxnet_loaded_before_openatac_is_unchanged(package):
    path = package('import numpy\nnumber = 1\n')
    code = ('import mxnet, numpy, openatac\n'
            'import mxnet, os; print(mxnet.number, mxnet.numpy is numpy, "OMP_NUM_THREADS" in os.environ)')
    assert output_of(code, path=path) == '1 True False'


def test_hook_is_installed_once_after_reloads(package):
    path = package('import numpy\nvalue = numpy.NINF\n')
    code = ('import importlib, sys, openatac\n'
            'importlib.reload(openatac.system.mxnet)\n'
            'importlib.reload(openatac.system.mxnet.import_hook)\n'
            'for name in list(sys.modules):\n'
            '    if name.startswith("openatac"): del sys.modules[name]\n'
            'import openatac, mxnet\n'
            'print(mxnet.value, sum("openatac" in type(finder).__module__ for finder in sys.meta_path))')
    assert output_of(code, path=path) == '-inf 1'


def test_mxnet_found_by_another_finder_works_too(package):
    path = package('import numpy\nvalue = numpy.NINF\n')
    code = ('import importlib.machinery, sys\n'
            'class Editable:\n'
            '    def find_spec(self, name, path=None, target=None):\n'
            f'        return importlib.machinery.PathFinder.find_spec(name, path or [{str(path[0])!r}])\n'
            'class Legacy: find_module = staticmethod(lambda *_: None)\n'
            'sys.meta_path[:0] = [Legacy(), Editable()]\n'
            'import openatac, mxnet; print(mxnet.value)')
    assert output_of(code) == '-inf'


@pytest.mark.parametrize('before', ['', 'import torch; '])
def test_gluoncv_loads_beside_pytorch_2_and_keeps_pillow_strict(tmp_path, before):
    """GluonCV raises an error beside PyTorch 2; the test's stand-in reports version 2."""
    (tmp_path / 'torch.py').write_text('__version__ = "2.13.0"\nclass Tensor: pass\n')
    code = before + ('import openatac, gluoncv.data.mhp, torch; from PIL import ImageFile; '
                     'print(torch.__version__, ImageFile.LOAD_TRUNCATED_IMAGES)')
    assert output_of(code, path=[tmp_path]).splitlines()[-1] == '2.13.0 False'
