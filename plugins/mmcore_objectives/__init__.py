"""Training objectives: what is learned from a pack."""
