"""The engines: plain torch for one process, DeepSpeed for many."""
