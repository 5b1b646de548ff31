"""From the tables of a corpus to batches of pixels: the plan, its order, and reading it."""
