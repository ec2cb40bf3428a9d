"""Everything that is not about captions: settings, errors, files, threads, devices."""
