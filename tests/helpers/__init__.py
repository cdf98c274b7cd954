"""What tests share: simulated cameras, RAW files, small datasets, hostile files, terminals."""
