"""What a trained network does: predictions, metrics, export."""
