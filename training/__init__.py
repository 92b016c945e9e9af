"""Makes `model_repository/` from ticks: `python -m training --data DIR`. Never imported by the hub."""
