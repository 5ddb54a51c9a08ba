"""The parameters of a network by their structural names."""


def parameters_of(net):
    """Return {structural name: parameter}, as in a .params file; Gluon has no public function for it."""
    return net._collect_params_with_prefix()
