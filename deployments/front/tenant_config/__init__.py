"""What holds for a tenant and its users: values inherited over layers, each with its origin. Pure.

Reads top down: `schema.py` (every setting there is), `resolution.py` (which layer wins, and which may not),
`view.py` (the lookup, local to every process); `values.py` and `documents.py` are what they are made of.
"""
