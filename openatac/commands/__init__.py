"""The commands: a file each, for its flags and its messages."""
