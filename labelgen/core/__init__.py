"""The vocabulary of all other folders: arrays, brackets, recipes, responses, files and errors."""
