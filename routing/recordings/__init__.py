"""Decisions on tape: written down, read back, made again."""
