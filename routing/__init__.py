"""Where a request goes: filter, score, pick. Pure: clocks, randomness and I/O are passed in."""
