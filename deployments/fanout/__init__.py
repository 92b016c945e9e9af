"""The fan-out: every prediction, projected for every subscribed user, in order, into `user.signals`.

Read `worker.py` for who does what, then `partition.py`: the main path of one owned partition.
"""
