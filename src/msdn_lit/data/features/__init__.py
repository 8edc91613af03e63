"""Region features: images, extraction, stores and feature files."""
