"""What tenants use: counted from the log, told when a limit is near, exported for billing."""
