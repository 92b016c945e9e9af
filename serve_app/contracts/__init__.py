"""The published contract: JSON Schemas and an AsyncAPI file, generated from the types.

`records.py` is the table of what lies in which topic; `python -m serve_app.contracts` writes what stands in
`docs/contracts`.
"""
