"""Share datasets: pack, merge, split, sample, describe, fetch and export them."""
