"""From samples to packs: prepare, mix, pack, collate and load. Knows no model and no recipe."""
