"""One image file in or out: formats, headers, limits on what strangers hand us."""
