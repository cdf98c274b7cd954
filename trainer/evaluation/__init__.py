"""Apply a trained network: predictions, metrics, export."""
