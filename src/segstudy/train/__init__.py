"""Training: the loop, losses, schedules, optimisers."""
