"""Files written whole, read within limits, and checked."""
