"""Count the costs of networks."""
