"""Puzzles: a made-up benchmark of colours, reading, places, counting, comparing and retrieving."""
