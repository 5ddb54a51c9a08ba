"""The teacher of a distillation: a trained network, by name."""
from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet.gluon.block import HybridBlock

from openatac.backends.teacher import Teacher
from openatac.errors import OpenatacError, UsageError, first_line
from openatac.models.weights import load_parameters
from openatac.zoo.names import parse_network_name


def load_teacher(teacher: Teacher, contexts: list[mx.Context], image_shape: tuple[int, ...],
                 dtype: str) -> HybridBlock:
    """Load a trained network from our zoo or GluonCV's, onto ``contexts``.

    Its parameters come from ``teacher.params`` if given, otherwise from openatac or from GluonCV's download.

    Raises
    ------
    OpenatacError
        For an unknown name, unreadable parameters or a different number of classes.
    """
    teacher = teacher.with_bundled_file()
    net = _build(teacher)
    if teacher.params:
        with teacher.loading():
            load_parameters(net, teacher.params, contexts)
    else:
        net.collect_params().reset_ctx(contexts)
    net.cast(dtype)
    net.hybridize(static_alloc=True)
    for ctx in contexts:
        output = net(mx.nd.zeros((1, *image_shape), ctx, dtype))
    teacher.check_classes(output.shape[1] if isinstance(output, mx.nd.NDArray) else 0)  # 0: several outputs
    return net


def _build(teacher: Teacher) -> HybridBlock:
    """Build the teacher's network: ours, or else GluonCV's network of the same name."""
    try:
        host, settings = parse_network_name(teacher.network)
    except UsageError:
        return _build_gluoncvs(teacher)
    teacher.required_file()
    return host.gluon(classes=teacher.required_classes, **settings)


def _build_gluoncvs(teacher: Teacher) -> HybridBlock:
    """Build a network from GluonCV's zoo, pretrained unless ``teacher.params`` names a file."""
    from gluoncv import model_zoo
    known = model_zoo.get_model_list()
    if teacher.network.lower() not in known:
        raise OpenatacError(f'--teacher {teacher.network}: neither GluonCV nor openatac has a network of '
                            'that name; see gluoncv.model_zoo.get_model_list()')
    # GluonCV's own classifiers have 1000 classes, and files that it downloads
    settings: dict[str, Any] = {'pretrained': True}
    if teacher.params:
        settings = {'pretrained': False, 'classes': teacher.required_classes}
    try:
        return model_zoo.get_model(teacher.network, **settings)
    except Exception as error:  # any kind: GluonCV can fail while building, downloading, unpacking or reading
        raise OpenatacError(f'GluonCV cannot build the teacher {teacher.network} '
                            f'({first_line(error)[:120]}): choose a classifier, with its .params file in '
                            '--teacher-params if it cannot be downloaded') from None
