"""From ticks to predictions: each symbol has one owner, and each due slot one valid record.

feed -> intake.py   ticks and the market clock
        market.py   -> bars that the clock closes, with their windows
worker.py           which slots are due, who owns what
        group.py    -> one routed call for all slots due together
        lane.py     -> `hub.predictions`, acknowledged before any signal can exist
bar_store.py        new bars into the feed, off that path
restore.py          what a new owner reads first
"""
