"""Things at rest behind small ports: what may be lost (`FastStore`) and what is named by its hash.

Read `ports.py` for what a store must do, `gcra.py` for how calls are counted without a race.
"""
