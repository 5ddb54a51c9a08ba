"""The names of MXNet's key-value stores, which sum the gradients of devices and processes."""

SINGLE_PROCESS_STORE = 'device'  # sums on the devices of one process
# MXNet silently treats other names, such as horovod, as a local store.
KVSTORES = ('local', SINGLE_PROCESS_STORE, 'dist_sync', 'dist_device_sync', 'dist_async')
