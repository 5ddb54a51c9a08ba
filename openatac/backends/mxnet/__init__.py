"""MXNet as a backend: Gluon networks on CPUs and GPUs."""
