"""The front door: configuration, wiring, the command `hub`, and `app` and `build` for Serve."""
