"""Small captions to score, each written for one case."""

REFERENCES = {
    "1": [
        "A brown dog runs on the beach.",
        "A dog, wet and happy, is running along the sea!",
        "The dog runs.",
        "A dog running on sand near the water",
        "Brown dog at the seaside",
    ],
    "2": [
        "Two children don't want to leave the U.S. park...",
        'A boy says "hello" to a girl (his sister).',
        "Two kids stand in a park.",
        "A pair of children; one of them is waving.",
        "Children in a park -- smiling",
    ],
    "3": [
        "A red car is parked on a street in the city.",
        "A parked automobile, red, beside the road",
        "There's a red car.",
        "Red car on a city street at night",
        "A sports car parked downtown",
    ],
    "4": [
        "Ein Café in Zürich, 日本 style, 3.5 stars",
        "A café with two tables and 1,000 cups",
        "Coffee house",
        "A café\u00a0on a corner",
        "people sit outside of a café drinking coffee",
    ],
    "5": [
        "A man rides a wave on a surfboard.",
        "A surfer.",
        "",
        "A man surfing.",
        "A man on a board in the ocean.",
    ],
    "6": ["A man rides a horse.", "A person on horseback in a field"],  # fewer than five
}

CANDIDATES = {
    "1": "A dog is running on the beach.",
    "2": "Two children are standing in a park",
    "3": "A red car is parked on a street in the city.",  # equal to a reference
    "4": "",  # an empty caption scores 0
    "5": "zzz qqq",  # nothing in common
    "6": "A man riding riding riding a horse in a a a field with with mountains and clouds in the sky",
}
