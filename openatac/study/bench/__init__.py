"""How fast each runtime runs exported networks."""
