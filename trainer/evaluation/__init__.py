"""Use a trained network: predictions, metrics, export."""
