"""Long checks that are started by hand: fuzzing, damaged datasets, killed builds."""
