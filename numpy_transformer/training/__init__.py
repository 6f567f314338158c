"""Training: optimizers, schedules, the loop, checkpoints, progress."""
