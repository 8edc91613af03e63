"""Results on a terminal: tables within its width, groups from best to worst."""
