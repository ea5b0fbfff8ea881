"""What lies in a run folder: its recipe, its logs, what was left out, and the best checkpoints."""
