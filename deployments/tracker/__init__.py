"""The tracker: judges every forecast once its horizon has passed, and says what that comes to for each model.

It is never asked on the way to an answer: routers follow `hub.evidence` and work on their own copy.
"""
