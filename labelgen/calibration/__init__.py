"""What the pixels of all brackets say of their cameras: response, noise, true exposures."""
