"""The command ``openatac`` (or ``python -m openatac``), and its doctor.

The doctor tells whether networks can be trained on this machine. It works where MXNet does not,
and for whatever is missing it prints the command that brings it.
"""
import argparse
import importlib
import json
import os
import platform
import subprocess
import sys

import openatac
from openatac.console import program, streams
from openatac.errors import DeviceError
from openatac.runtime import cores, cuda_libraries, devices, processor, threads

# Each sub-command: the function that gets its arguments and returns the exit code, loaded when
# it is called, and what it is for.
COMMANDS = {
    'demo': ('openatac.study.demo:main', 'train, compare and export three units on handwritten digits'),
    'evaluate-imagenet': ('openatac.training.evaluate_imagenet:main',
                          'the validation errors of trained parameters'),
    'pack': ('openatac.commands.pack:main', 'pack a folder of photographs into a record file, or check one'),
    'launch': ('openatac.commands.launch:main', 'start a training run of several processes or machines'),
    'export': ('openatac.export.export:main', 'a trained network as files that other programs load'),
    'predict': ('openatac.export.predict:main', 'what an exported network sees in images'),
    'bench': ('openatac.study.bench.bench:main', 'how fast each engine runs exported networks'),
    'costs': ('openatac.study.costs.table:main', 'parameters, multiply-adds and memory of networks'),
    'plan': ('openatac.study.plan:main', 'time and cost of the published run, from one measured speed'),
    'compare': ('openatac.study.comparison.compare:main',
                'train units at several depths and seeds, and compare them'),
    'published': ('openatac.study.published.table:main', 'the published numbers beside our costs and runs'),
    'gates': ('openatac.study.gates.gates:main', 'statistics of the gates of trained networks'),
    'doctor': ('openatac.cli:doctor', 'tell what is installed, what is missing and how to get it'),
}


def main(argv=None):
    """Run one sub-command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    name = f'openatac {argv[0]}' if argv and argv[0] in COMMANDS else 'openatac'
    return program.run(lambda: _call(argv),
                       lambda sentence, code: streams.print_to_stderr(f'{name}: {sentence}'))


def _call(argv):
    parser = argparse.ArgumentParser(
        prog='openatac', usage='openatac [-h] [--version] COMMAND ...',
        description='Attention as Activation in MXNet.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='commands:\n' + '\n'.join('  %-17s  %s' % (name, text)
                                         for name, (_, text) in COMMANDS.items()))
    parser.add_argument('--version', action='version', version='openatac ' + openatac.__version__)
    parser.add_argument('command', metavar='COMMAND', choices=COMMANDS, help='one of the commands below')
    command = parser.parse_args(argv[:1]).command
    module, function = COMMANDS[command][0].split(':')
    return getattr(importlib.import_module(module), function)(argv[1:])


# ---------------------------------------------------------------------------------- doctor

# Packages that not everyone needs: what for, and what to install.
OPTIONAL = (
    ('scikit-learn', 'the handwritten digits', 'openatac[demo]'),
    ('matplotlib', 'pictures of the curves', 'openatac[demo]'),
    ('tensorboardX', 'TensorBoard files', 'openatac[tensorboard]'),
    ('wandb', 'Weights & Biases', 'openatac[wandb]'),
    ('onnx', 'ONNX files', 'openatac[onnx]'),
    ('onnxruntime', 'running ONNX files', 'openatac[onnx]'),
    ('openvino', 'running them in OpenVINO', 'openatac[openvino]'),
    ('torch', 'the networks in PyTorch', 'openatac[torch]'),
)

# Asked in a process of its own, so that an MXNet that crashes is reported and not suffered.
_ASK_MXNET = '''
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import openatac
try:
    import mxnet
except ImportError as error:
    if error.name != 'mxnet':
        raise
    print(json.dumps({'problem': str(error)}))
    sys.exit()
cuda = mxnet.runtime.Features().is_enabled('CUDA')
print(json.dumps({'version': mxnet.__version__, 'path': mxnet.__path__[0], 'cuda': cuda,
                  'gpus': mxnet.context.num_gpus() if cuda else 0,
                  'sum': float(mxnet.nd.ones((2, 2)).sum().asscalar())}))
'''


def doctor(argv):
    """Print the state of everything that training needs; 0 if it would work here, else 1."""
    argparse.ArgumentParser(prog='openatac doctor', description=COMMANDS['doctor'][1]).parse_args(argv)
    mxnet, problem = ask_mxnet()
    _say('Python', '%s (%s)' % (platform.python_version(), sys.executable))
    _say('openatac', '%s (%s)' % (openatac.__version__, os.path.dirname(os.path.abspath(openatac.__file__))))
    _say('NumPy', _version('numpy') or 'missing: pip install numpy')
    _say('MXNet', '%s, %s build (%s)' % (mxnet['version'], 'CUDA' if mxnet['cuda'] else 'CPU', mxnet['path'])
         if mxnet else problem)
    _say('GluonCV', _version('gluoncv') or 'missing: pip install gluoncv==0.10.5.post0')
    _say('OpenCV', _opencv())
    _say('threads', _threads())
    _say('INT8', processor.int8_line().removeprefix('INT8: '))
    _say_gpus(mxnet)
    if cuda_libraries.has_cuda_wheel():
        _say('CUDA 11', _cuda_libraries())
    for name in ('cifar10', 'cifar100'):
        _say(name, _data(name))
    for name, purpose, requirement in OPTIONAL:
        _say(name, _version(name) or "missing, for %s: pip install '%s'" % (purpose, requirement))
    if mxnet:
        print('Training works here.')
        return 0
    print('Training %s: see the line on MXNet.' % (
        'works here by --engine torch --initial only' if _version('torch') else 'does not work here yet'))
    return 1


def _say(subject, text):
    print('%-13s %s' % (subject, text))


def _version(package):
    from importlib.metadata import PackageNotFoundError, version
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def ask_mxnet():
    """(what MXNet says of itself, None) after importing it in another process, or (None, the problem)."""
    try:
        answer = subprocess.run([sys.executable, '-c', _ASK_MXNET, json.dumps(sys.path)], timeout=300,
                                stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return None, 'broken: importing it takes more than 5 minutes'
    if answer.returncode == 0:
        told = json.loads(answer.stdout.splitlines()[-1])
        return (None, told['problem']) if 'problem' in told else (told, None)
    reason = (answer.stderr.strip().splitlines() or ['it ended with code %d' % answer.returncode])[-1]
    return None, 'broken (%s): %s' % (reason, _mending(reason))


def _mending(reason):
    """The command that mends an MXNet that fails to load with that last line."""
    if reason.startswith('ModuleNotFoundError: No module named'):
        module = reason.split("'")[1].split('.')[0]
        return 'pip install ' + {'distutils': 'setuptools'}.get(module, module)
    wheel = 'mxnet-cu112' if cuda_libraries.has_cuda_wheel() else 'mxnet'
    return 'pip install --force-reinstall --no-deps %s==1.9.1' % wheel


def _opencv():
    from openatac.data.photos.codec import import_opencv
    try:
        return import_opencv().__version__
    except ImportError as error:
        return str(error)


def _threads():
    try:
        count, variable = threads.thread_count()
    except ImportError as error:
        return str(error)
    why = '%s is set' % variable if variable else 'one per core'
    return '%s: %s; physical cores that this process may use: %d' % (count, why, cores.physical_cores())


def _say_gpus(mxnet):
    gpus = devices.nvidia_gpus()
    if not gpus:
        _say('GPU', 'none that an NVIDIA driver shows')
    for index, gpu in enumerate(gpus):
        _say('GPU %d' % index, '%s, compute capability %d.%d: %s' % (*gpu, _gpu_use(index, gpu, mxnet)))


def _gpu_use(index, gpu, mxnet):
    """Whether MXNet can train on that GPU, or what is in the way."""
    try:
        devices.check_capability(index, gpu)
    except DeviceError:
        newer = ": use --engine torch, with pip install 'openatac[torch]'"
        return 'MXNet 1.9.1 has no code for it (5.0 to 8.9 only)' + (newer if gpu[1] >= 9 else '')
    if not mxnet:
        return 'not usable without MXNet'
    if not mxnet['cuda']:
        return "usable after pip uninstall mxnet and pip install 'openatac[cu112]'"
    return 'usable' if index < mxnet['gpus'] else 'MXNet does not see it: update the driver'


def _cuda_libraries():
    missing = [library for library, path in cuda_libraries.find_cuda_libraries().items() if path is None]
    if not missing:
        return 'all %d libraries found' % len(cuda_libraries.CUDA_LIBRARIES)
    return "%s missing: pip install 'openatac[cu112]'" % ', '.join(missing)


def _data(name):
    from openatac.data.cifar import find_cifar, gluon_folder
    place = find_cifar(name)
    if place:
        return 'found in %s' % place
    return 'not in %s: downloaded to there by train_cifar.py --dataset %s' % (gluon_folder(name), name)
