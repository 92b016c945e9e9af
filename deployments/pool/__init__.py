"""A pool: one Serve application whose replicas each hold several models.

Read `deployment.py` for Serve, and `deployments/router/execution/` for what happens to a call in a replica.
"""
