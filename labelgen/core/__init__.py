"""What all steps speak in: arrays, brackets, recipes, responses, files, errors."""
