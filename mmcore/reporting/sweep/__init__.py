"""What a sweep wrote down, on one page: tables over seeds, curves, and what they do not show."""
