"""The HTML page of predictions, and its server."""
