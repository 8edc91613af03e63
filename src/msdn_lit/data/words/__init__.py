"""From attribute names to attribute vectors."""
