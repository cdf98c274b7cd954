"""From hand to hand: datasets packed, merged, split, sampled, described, fetched, and exported."""
