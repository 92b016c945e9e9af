"""A stranger's artefact, loaded and tried in a process of its own that can do nothing else.

`examine.py` is what callers use: it starts the process, watches it and reads its verdict. The process is
`child.py`: it reads its request, gives up every right it has (`jail.py`, `seccomp.py`), and only then looks
at the bytes (`graph.py`, `inference/check.py`).
"""
