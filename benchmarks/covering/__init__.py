"""Promises about intervals, replayed on real market data: `benchmarks/coverage.py` reports what comes out."""
