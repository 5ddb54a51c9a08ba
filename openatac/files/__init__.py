"""Files read within limits, validated, locked and written whole."""
