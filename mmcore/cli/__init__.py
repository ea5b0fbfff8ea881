"""The command line: one file per verb; what is heavy is imported inside the verb."""
