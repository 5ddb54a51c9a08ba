"""What the gates of trained networks do."""
