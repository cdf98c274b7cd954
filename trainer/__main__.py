"""``python -m trainer``, as ``torchrun -m trainer`` starts it."""

from trainer.cli import main

main()
