"""What several plugins need: attention, weight files, and drawing for made-up data."""
