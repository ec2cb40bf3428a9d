"""Drawing a scene: `compose` puts places, bodies and things together with `pen` and `palette`."""
