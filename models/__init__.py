"""The nouns: frozen pydantic types, ids, errors and wire formats. Imports nothing else of ours.

Read `errors.py` for the error tree, `request.py` for what a client may ask,
`prediction.py` and `signal.py` for what travels on Kafka, `card.py` for what a model is.
"""
