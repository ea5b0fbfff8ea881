"""Ask a model the questions of a task, and say how sure one can be of the result."""
