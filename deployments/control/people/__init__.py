"""Users of a tenant, and invitations."""
