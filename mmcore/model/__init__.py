"""The model of three parts: encode, sample, splice, decode; and which parts of it learn."""
