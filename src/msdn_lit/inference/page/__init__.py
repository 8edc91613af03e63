"""The HTML page of predictions, and its server."""

NUM_SAMPLES = 12  # images that a page offers to choose from
