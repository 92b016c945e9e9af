"""The steps of one decision: candidates, their numbers, the best of them, and why."""
