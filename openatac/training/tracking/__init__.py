"""What a run reports to: metrics files, a figure, tracking services; and a watch for contention."""
