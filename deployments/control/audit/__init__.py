"""The audit log: read, verified, signed, and what is written down of refusals."""
