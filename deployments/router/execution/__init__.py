"""How a call runs in the process that holds its model: a pool's replica, or a caller that holds small models.

Read `worker.py` for what happens to a call, `slots.py` for who waits, `batching.py` for who runs together.
"""
