"""What both ingresses stand on, the gateway and the stream: who is calling, what a tier allows, and a user's
own signals in the log. A library, not a deployment.
"""
