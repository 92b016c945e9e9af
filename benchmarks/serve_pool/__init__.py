"""Pools of Ray Serve replicas with controlled service times, one pool per way of choosing among them.

`cells.py` says what a cell of the benchmark is, `replica.py` what replicas run, `routers.py` the ways of
choosing, `deployments.py` puts these together, `driver.py` is the process that calls them.
"""
