import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.search(r"^__version__ = '(.+)'$", Path('openatac/version.py').read_text('utf-8'), re.M).group(1)

# MXNet's metadata asks for NumPy below 2, which has no wheel for Python 3.13, though MXNet works
# with NumPy 2 once openatac is imported. So from 3.13 on pip must be told to ignore that
# (pip install --no-deps mxnet==1.9.1), and the extras bring the rest of what MXNet needs.
BELOW_313 = '; python_version < "3.13"'
FROM_313 = '; python_version >= "3.13"'

NEEDED_BY_MXNET = [
    'graphviz>=0.8.1,<0.9' + FROM_313,           # mxnet.visualization imports it
    'requests>=2.20,<3' + FROM_313,              # mxnet.gluon.utils imports it
    'scikit-learn>=1.0',                         # has the libgomp.so.1 that a bare machine lacks
    'scipy>=1.11,<2',                            # and libquadmath.so.0; MXNet asks for what 2.0 drops
    'setuptools>=64; python_version >= "3.12"',  # has distutils, which Python dropped and MXNet imports
]

# What libmxnet.so of mxnet-cu112 links to; the runtime loads them from where pip puts them.
CUDA_11 = [
    'nvidia-cuda-runtime-cu11==11.8.89',
    'nvidia-cuda-nvrtc-cu11==11.8.89',
    'nvidia-nvtx-cu11==11.8.86',
    'nvidia-cublas-cu11==11.11.3.6',
    'nvidia-cudnn-cu11==8.9.6.50',
    'nvidia-cufft-cu11==10.9.0.58',
    'nvidia-curand-cu11==10.3.0.86',
    'nvidia-cusolver-cu11==11.4.1.48',
    'nvidia-nccl-cu11==2.21.5',
]

setup(
    name='openatac',
    version=VERSION,
    description='"Attention as Activation" (ATAC, ICPR 2020) in Apache MXNet Gluon',
    long_description=Path('README.md').read_text('utf-8') if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.9',
    packages=find_packages(include=['openatac', 'openatac.*']),
    scripts=['train_cifar.py', 'train_imagenet.py'],
    entry_points={'console_scripts': ['openatac = openatac.cli:main']},
    install_requires=[
        'numpy>=1.23',            # the input pipeline; no upper end: the runtime gives MXNet its old names
        'gluoncv==0.10.5.post0',  # teachers and their loss; its schedules and GroupNorm hold ours to them
        # Decodes photographs. GluonCV brings opencv-python, which needs a desktop's libraries; this variant
        # needs none, and of the headless ones it is the one that pip, by its name, installs over the other.
        'opencv-contrib-python-headless>=4.8',
        'tqdm>=4.60',             # progress bars
        'Pillow>=9.1',            # packs photographs
    ],
    extras_require={
        'cpu': ['mxnet==1.9.1' + BELOW_313, *NEEDED_BY_MXNET],
        'cu112': ['mxnet-cu112==1.9.1' + BELOW_313, *NEEDED_BY_MXNET, *CUDA_11],
        'tensorboard': ['tensorboardX>=2.6'],  # event files by protobuf alone, no TensorFlow
        'wandb': ['wandb>=0.15'],              # run tracking, also offline
        'onnx': [
            'onnx>=1.14',                      # writes the file
            'onnxruntime>=1.16',               # runs it, to compare
        ],
        'openvino': ['openvino>=2024.0'],      # runs ONNX files too, in `openatac bench`
        'torch': ['torch>=2.6'],               # the same network in PyTorch
        'demo': [
            'scikit-learn>=1.0',               # the handwritten digits
            'matplotlib>=3.6',                 # the picture of the curves
        ],
        'test': [
            'pytest>=7.3',                     # runs the suite
            'pytest-xdist>=3',                 # ... on all cores
            'hypothesis>=6',                   # makes up inputs for it
            'ruff>=0.5',                       # the style
            'onnx>=1.14',                      # as in the extra onnx
            'onnxruntime>=1.16',
        ],
    },
)
