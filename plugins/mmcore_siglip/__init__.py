"""SigLIP's vision transformer as the encoder."""
