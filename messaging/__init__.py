"""Things in motion: Kafka and NATS behind small ports, ownership, and a shipped memory bus with faults.

Read `ports.py` for what a wire must do, `claims.py` for why a partition has one writer,
`topics.py` and `subjects.py` for the contract as data.
"""
