"""What generated videos are measured by."""
