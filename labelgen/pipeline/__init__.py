"""Run a whole build: options, plan, tasks, workers and clusters, resume and repair."""
