"""What is kept of users for long: moved from the log exactly once, read by pages."""
