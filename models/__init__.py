"""Neural networks and their weights. They know nothing of training loops, of Ray, or of a corpus' folders."""
