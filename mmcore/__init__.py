"""mmcore: train vision-language models that are composed, part by part, in a TOML recipe."""

__version__ = "0.1.0"
