"""Puzzles: a made-up benchmark of reading, places, counting, comparing and retrieving."""
