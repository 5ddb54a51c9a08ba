"""Start the processes of a distributed run, and end them together."""
