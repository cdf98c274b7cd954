"""Which photos form a bracket, and at which exposures they were taken."""
