"""What commands share: the frame around them, their streams and their text."""
