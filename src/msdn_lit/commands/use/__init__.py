"""Commands that use a trained model: predict, app, export."""
