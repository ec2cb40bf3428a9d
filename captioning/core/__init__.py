"""What has no captioning in it: settings, errors, files, threads, devices."""
