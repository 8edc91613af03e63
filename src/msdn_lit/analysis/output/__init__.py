"""Results as tables, figures, pages and records."""
