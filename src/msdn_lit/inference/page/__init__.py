"""The page that shows predictions, as a file and as a local server."""
