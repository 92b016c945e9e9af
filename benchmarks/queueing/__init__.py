"""A pool of replicas and independent routers in virtual time: `python -m benchmarks.queueing --help`.

traces.py       what happens, drawn beforehand: arrivals, service draws, speeds, deadlines
policies.py     what a router is, and the peers that need no learning
delay.py        the peer that learns: plain shortest expected delay
hub.py          the shipped engine and load table
pool.py         the replicas as they really are
simulation.py   the events, from request to reply
runs.py         what came of it
"""
