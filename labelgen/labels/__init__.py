"""Turn aligned frames into a label: motion and exposure cues, fused radiance, trust per pixel."""
