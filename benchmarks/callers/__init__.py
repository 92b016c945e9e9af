"""Processes that call real ONNX models on Ray Serve, and measure what a call costs them.

`caller.py` is such a process, `cluster.py` the Ray it runs in, `http_load.py` one that calls by HTTP.
"""
