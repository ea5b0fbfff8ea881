"""Causal language models of tested families as the LLM, described by their config.json."""
