"""A stranger's encoder: a plain transformer with a class token and ImageNet normalisation."""
