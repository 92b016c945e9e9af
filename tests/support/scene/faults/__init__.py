"""Faults as scripts for a scene, one module for each kind of victim, and what each must not cost."""
