"""Protobuf schemas and the code generated from them (committed; `models/envelope.py` is the way in)."""
