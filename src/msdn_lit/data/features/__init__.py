"""From images to region features on disk."""
