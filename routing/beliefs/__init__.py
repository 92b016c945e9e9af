"""What one process believes of replicas and models, and how it learns; `routing/load.py` is the door."""
