"""Bundles for other people: model card, Hugging Face Hub, and the page as a container."""
