"""Images for exported networks: files, sets with or without labels, and inputs made from them."""
