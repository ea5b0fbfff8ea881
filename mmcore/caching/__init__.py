"""Features of a frozen encoder, made once before training and checked before every run."""
