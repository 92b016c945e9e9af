"""A pool: one Serve application whose replicas each hold several models.

Read `worker.py` for what happens to a call, `slots.py` for how many run at once, `deployment.py` for Serve.
"""
