"""How people and programs come in: login, sessions, API keys. `assembly.py` puts the desks together."""
