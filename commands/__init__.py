"""What people type besides DVC's own commands; each is run as `python -m commands.NAME`."""
