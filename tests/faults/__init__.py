"""What a user can do wrong, and what a file from elsewhere can do to us: each kind, not each case."""
