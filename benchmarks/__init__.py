"""Measurements with their questions: `python -m benchmarks NAME [--json FILE]`.

One module, one benchmark: it defines `BENCHMARK` (see `harness.py`) and is found by that.
"""
