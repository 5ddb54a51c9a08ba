"""Small images that fit into memory: CIFAR in all its forms, and your own folders."""
