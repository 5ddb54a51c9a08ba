"""The commands of ``openatac``, one in each file: command lines and messages only."""
