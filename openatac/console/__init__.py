"""Code shared by all commands: exit codes and signals, standard streams, and the log."""
