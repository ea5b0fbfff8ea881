"""What a recipe will cost, found on the meta device: sizes, memory, work and time."""
