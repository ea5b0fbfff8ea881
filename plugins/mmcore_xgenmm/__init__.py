"""The released xGen-MM (BLIP-3) checkpoints, and those of its training code, in and out."""
