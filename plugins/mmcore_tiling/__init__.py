"""Tilers: how a picture becomes the square views that an encoder wants."""
