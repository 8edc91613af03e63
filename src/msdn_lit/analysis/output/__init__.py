"""Results as tables, pages and records."""
