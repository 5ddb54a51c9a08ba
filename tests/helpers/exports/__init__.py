"""Small exports, how they are written, and their files."""
