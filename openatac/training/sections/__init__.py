"""The sections of a config: the options of the network, the data, the training, the start and the output."""
