"""Tenants that can be told apart wherever they show: each says, asks and is called what no other is."""
