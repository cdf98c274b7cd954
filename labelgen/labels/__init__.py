"""From aligned frames to a label: the cues, the fused radiance, the trust in each pixel."""
