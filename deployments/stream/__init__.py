"""The stream: each user's signals over a WebSocket, live and without a gap since the last one it had.

    user.signals --Follower--> Switchboard --Session--> Outbox --> one socket
                                     '--- catch-up: UserSignals, from a sequence mark

Read `session.py` for how history and live meet, then `app.py` for who is let in.
"""
