"""Score labels against known truth: errors by trust, ghosts, and what moves or stands still."""
