"""Find the brackets among photos, and the exposures they were taken at."""
