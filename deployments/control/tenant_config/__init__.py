"""Config of tenants and users: versions, templates, secrets."""
