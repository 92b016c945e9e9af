"""Processes that call real ONNX models on Ray Serve, and measure what a call costs them.

`caller.py` calls and measures its own calls, `player.py` plays calls that were drawn beforehand;
`parts.py` is what both need. `real_runs.py` is a small pool for such a player, and trouble for it.
`cluster.py` is the Ray they run in, `http_load.py` calls by HTTP.
"""
