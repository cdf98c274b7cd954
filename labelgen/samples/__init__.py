"""Cut patches from labelled frames and augment them: light, motion and moving objects."""
