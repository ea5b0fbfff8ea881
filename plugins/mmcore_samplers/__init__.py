"""Token samplers: the perceiver of BLIP-3, and the MLP of LLaVA."""
