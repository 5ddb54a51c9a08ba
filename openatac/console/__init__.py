"""What all commands share: their exit codes and signals, standard streams, and text to show."""
