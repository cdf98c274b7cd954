"""Find the displacement from the reference frame to every other frame of a bracket."""
