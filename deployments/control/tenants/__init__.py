"""Tenants from their first day to their last, and what that obliges the hub to do elsewhere."""
