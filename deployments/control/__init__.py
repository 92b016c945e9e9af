"""The control plane: tenants, their people, keys, config, quotas, audit and usage. Never on the hot path.

Reads top down: `app.py` (the routes), `access.py` (who may act on which tenant), `changes.py` (the one way to
change anything: database, audit and announcement together), `announcer.py` (how all learn of it), then the
desk one cares about:

    tenants         from the first day to the last; duties elsewhere
    people          users and invitations
    auth            login, sessions, API keys
    signing         the keys that tokens are signed with
    tenant_config   settings, templates, secrets
    quotas          what a tenant may hold at a time
    audit, usage    what was done, and what was used
    user_data       what is kept of users for long

`assembly.py` puts all of it together, for a replica and for tests.
"""
