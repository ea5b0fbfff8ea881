"""Tasks: questions whose answers are known, and the rules by which answers are scored."""
