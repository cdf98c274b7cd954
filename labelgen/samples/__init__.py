"""From a label to samples: patches, synthetic light, motion and moving objects."""
