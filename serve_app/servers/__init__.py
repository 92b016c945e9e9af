"""The servers the hub runs on, as child processes on loopback: one module a server, and what they share.

`process.py` knows how a server starts, is waited for and ends; `leash.py` ends it when its starter dies;
the others know one server each: its command, its data and when it is ready.
"""
