"""The data sets of BLIP-3 in their true on-disk formats."""
