"""What a user gets: from ticks to windows, from forecasts to signals. Pure: clocks and I/O are passed in."""
