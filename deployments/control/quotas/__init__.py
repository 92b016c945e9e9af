"""What a tenant may hold at a time: leases, decided in one statement."""
