"""The teacher of a distillation: a trained network, by name."""
from openatac.errors import OpenatacError, ParameterFileError
from openatac.models.parameters import load_parameters
from openatac.models.zoo import find_model


def load_teacher(teacher, contexts, image_shape, dtype):
    """The network of a `Teacher`, of our zoo or GluonCV's, trained, on ``contexts``.

    With the parameters in ``teacher.params``, or those that GluonCV downloads. Raises OpenatacError for an
    unknown name, parameters that can't be read and another number of classes.
    """
    import mxnet as mx
    net = _build(teacher)
    if teacher.params:
        try:
            load_parameters(net, teacher.params, contexts)
        except ParameterFileError as error:
            raise ParameterFileError('the teacher is unreadable: %s' % error) from None
    else:
        net.collect_params().reset_ctx(contexts)
    net.cast(dtype)
    net.hybridize(static_alloc=True)
    for ctx in contexts:
        output = net(mx.nd.zeros((1,) + image_shape, ctx, dtype))
    classes = output.shape[1] if isinstance(output, mx.nd.NDArray) else 0  # 0: it has several outputs
    if classes != teacher.classes:
        raise OpenatacError('the teacher %s has %d classes, and the network %d: choose one for the same '
                            'classes' % (teacher.network, classes, teacher.classes))
    return net


def _build(teacher):
    """The teacher's network: ours, or else GluonCV's of that name."""
    try:
        host, settings = find_model(teacher.network)
    except ValueError:
        return _build_gluoncvs(teacher)
    if not teacher.params:
        raise OpenatacError(f'--teacher {teacher.network}: no trained weights of it are published; name a '
                            'file by --teacher-params')
    return host.build(classes=teacher.classes, **settings)


def _build_gluoncvs(teacher):
    """A network of GluonCV's zoo, with its own parameters if none are named."""
    from gluoncv import model_zoo
    known = model_zoo.get_model_list()
    if teacher.network.lower() not in known:
        raise OpenatacError('--teacher %s: neither GluonCV nor openatac has a network of that name; see '
                            'gluoncv.model_zoo.get_model_list()' % teacher.network)
    # GluonCV's own classifiers have 1000 classes, and files that it downloads
    settings = {'pretrained': True}
    if teacher.params:
        settings = {'pretrained': False, 'classes': teacher.classes}
    try:
        return model_zoo.get_model(teacher.network, **settings)
    except Exception as error:  # of whatever kind: it builds, downloads, unpacks and reads in many ways
        raise OpenatacError('GluonCV cannot make the teacher %s (%s): choose a classifier, with its .params '
                            'file in --teacher-params if it cannot be downloaded'
                            % (teacher.network, _first_line(error))) from None


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
