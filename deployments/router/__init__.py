"""How the hub's own processes reach a model: decide, then call exactly the replica that was chosen.

Read `routed_client.py` for the path of a call, `ticket_router.py` for how Serve is made to obey a decision.
Private and alpha names of Ray Serve are used in this room only, each pinned by a test in `tests/serve`.
"""
