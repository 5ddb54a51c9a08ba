"""Image files: found in folders, lists and archives, decoded, with their labels."""
