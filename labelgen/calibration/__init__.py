"""Find responses, noise and true exposures of cameras from the pixels of all brackets."""
