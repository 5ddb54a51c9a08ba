"""Learners, their steps, and training in several processes."""
