"""A whole build: plan, tasks, workers and clusters, resume and repair."""
