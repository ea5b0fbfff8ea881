"""One step of a run made again, in this process: its weights, data and random numbers, watched."""
