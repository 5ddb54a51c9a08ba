"""The names of key-value stores."""

# The stores that MXNet implements. It silently treats other names, such as horovod, as a local store.
KVSTORES = ('local', 'device', 'dist_sync', 'dist_device_sync', 'dist_async')
