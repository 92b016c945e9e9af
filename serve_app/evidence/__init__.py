"""What `hub models evidence` shows: tables, a plot for the terminal and the same as PNG."""
