"""The optimizers: update rules over parameter groups."""
