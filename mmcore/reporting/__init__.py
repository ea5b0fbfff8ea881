"""What a run wrote down, on one page: curves, tables and what went wrong."""
