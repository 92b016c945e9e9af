"""The routes of the control plane, one module a subject."""
