"""The small tokenizer of models with random weights, and the script that makes it."""
