"""Whole runs: where they begin, their stages one after another, and rehearsals of them."""
