"""What outcomes say of models: folded, bounded at every moment at once, and turned into calibration."""
