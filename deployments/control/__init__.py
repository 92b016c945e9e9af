"""The control plane: tenants, their people, keys, config, quotas, audit and usage. Never on the hot path.

Reads top down: `app.py` (the routes), `access.py` (who may act on which tenant), `changes.py` (the one way to
change anything: database, audit and announcement together), then the desk one cares about.
"""
