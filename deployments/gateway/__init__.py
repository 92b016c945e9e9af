"""The HTTP door of the data plane: who is calling, what may be asked, and the answers.

Read `app.py` for how it is put together, `pipeline.py` for what happens to every request before its route,
`tokens.py` for identity, and `routes/` for one file per topic. `deployment.py` is all that knows Ray.
"""
