"""The machine: its processor, memory, threads and GPUs, and the libraries that are installed on it."""
