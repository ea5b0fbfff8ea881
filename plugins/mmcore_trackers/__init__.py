"""The trackers: what is written down while a run trains."""
