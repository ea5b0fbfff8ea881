"""Looking at a recipe's data as training will read it: what is there, and what becomes of it."""
