"""Phi-3 as the LLM: the decoder, its output layer, its tokenizer and its chat format."""
