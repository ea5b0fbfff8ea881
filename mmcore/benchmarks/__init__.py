"""What is reached on this machine: by a stage's steps, by its data; a file per measurement."""
