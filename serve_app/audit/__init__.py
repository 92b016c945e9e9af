"""The independent reader: a process of its own that reads Kafka like any service and settles the ledger.

It imports nothing of the writing rooms (`deployments`, `signals.encoding`, `signals.projection`) and nothing
of `messaging`: its consumer, its partitioner and its rules are its own. What was owed it computes from the
tick files and the strategies. `hub demo` starts it; `python -m serve_app.audit --help` runs it by hand.
"""
