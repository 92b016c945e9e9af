"""The signal path as processes of its own, without Ray, to be hurt: `scene.Scene` is the way in.

Real brokers, real ticks over NATS, the shipped workers with real models, and the independent reader that
draws up the ledger. What differs from a hub is that nobody replaces a dead worker but the test.
"""
