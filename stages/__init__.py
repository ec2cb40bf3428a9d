"""One short file a stage of dvc.yaml. Each is run as `python -m stages.NAME` and calls `captioning` and `models`."""
