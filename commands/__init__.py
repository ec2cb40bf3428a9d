"""Commands for users, besides DVC's own. Run each as `python -m commands.NAME`."""
