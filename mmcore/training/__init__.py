"""Training: the loop over a stage's steps, and what keeps it safe, told and resumable."""
