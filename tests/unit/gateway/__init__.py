"""Tests of the gateway over ASGI: no Ray, no socket, no broker."""
