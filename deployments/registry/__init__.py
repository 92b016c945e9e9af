"""The registry: checks the model repository and is the one writer of `hub.models`.

It is never asked on the way to an answer: gateways and forecasters follow the log and work on their own copy.
"""
