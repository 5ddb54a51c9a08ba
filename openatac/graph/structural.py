"""A Gluon network's graph under the structural names of its parameters, as other engines read it.

It is a symbol file like any other, and MXNet reads it too. But its arrays are called as in the network's
.params files (``features.0.gamma``), and each says whether it is trained (``__grad_req__``), of which an
ordinary symbol file tells nothing.
"""
import json

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.files.writing import write_text, writing
from openatac.models.params_file import write_params


def graph_of(net):
    """(graph, arrays) of a HybridBlock that has all its values: parsed JSON and {name: numpy.ndarray}.

    A parameter that two layers share keeps the first of its names; one without use is left out.

    Raises OpenatacError for a network without values.
    """
    mx.nd.waitall()  # on the CPU a pending forward pass may be reordering weights in place
    names = {}
    for name, parameter in net._collect_params_with_prefix().items():
        names.setdefault(parameter.name, (name, parameter))
    graph, arrays = json.loads(net(mx.sym.var('data')).tojson()), {}
    for node in graph['nodes']:
        if node['op'] == 'null' and node['name'] in names:
            node['name'], parameter = names[node['name']]
            node['attrs'] = dict(node.get('attrs', {}), __grad_req__=parameter.grad_req)
            arrays[node['name']] = _values(parameter)
    return graph, arrays


def export_graph(net, path):
    """Write ``path-symbol.json`` and ``path-0000.params``: a network and its values, to go anywhere.

    Raises OpenatacError for a network without values and if the files cannot be written.
    """
    graph, arrays = graph_of(net)
    with writing(path):
        write_params(path + '-0000.params', arrays)
        write_text(path + '-symbol.json', json.dumps(graph))


def _values(parameter):
    try:
        return parameter._reduce().asnumpy()
    except RuntimeError:  # also of values that wait for the first batch to tell their shape
        raise OpenatacError('the network has no values for %s yet: initialize it and run it on one batch'
                            % parameter.name) from None
