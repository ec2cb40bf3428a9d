"""The words for what can be in a scene: data for the grammar that writes captions and for the reader that checks them.

A word list is {word or phrase: weight}, the weight being how often people choose it. Nouns are written "singular/plural".
"""

from __future__ import annotations

NOUNS = {
    "man": {"man/men": 8, "guy/guys": 1, "person/people": 1.2},
    "woman": {"woman/women": 8, "lady/ladies": 1, "person/people": 1},
    "boy": {"boy/boys": 7, "little boy/little boys": 1.4, "young boy/young boys": 1.4, "child/children": 1, "kid/kids": 0.6},
    "girl": {"girl/girls": 7, "little girl/little girls": 1.6, "young girl/young girls": 1.4, "child/children": 1, "kid/kids": 0.6},
    "couple": {"man and a woman": 6, "woman and a man": 1.5, "couple": 1.5},
    "children": {"boy and a girl": 6, "girl and a boy": 2},
    "dog": {"dog/dogs": 10, "puppy/puppies": 0.8, "animal/animals": 0.3},
    "cat": {"cat/cats": 10, "kitten/kittens": 0.7, "animal/animals": 0.3},
    "horse": {"horse/horses": 10, "pony/ponies": 0.6, "animal/animals": 0.3},
    "bird": {"bird/birds": 10}, "duck": {"duck/ducks": 9, "bird/birds": 1.2},
    "car": {"car/cars": 9, "vehicle/vehicles": 0.8}, "bus": {"bus/buses": 10, "vehicle/vehicles": 0.4},
    "truck": {"truck/trucks": 9, "vehicle/vehicles": 0.6},
    "sailboat": {"sailboat/sailboats": 6, "boat/boats": 3, "sailing boat/sailing boats": 1},
    "balloon": {"hot air balloon/hot air balloons": 8, "balloon/balloons": 1.5},
    "ball": {"ball": 10}, "umbrella": {"umbrella/umbrellas": 10}, "balloons": {"balloon/balloons": 10}, "kite": {"kite": 10},
    "bicycle": {"bike": 6, "bicycle": 4}, "skateboard": {"skateboard": 10}, "sled": {"sled": 9, "sledge": 1}, "surfboard": {"surfboard": 10},
    "boat": {"boat": 8, "rowboat": 2}, "bench": {"bench": 10},
    "tree": {"tree": 10}, "palm": {"palm tree": 8, "tree": 2}, "cactus": {"cactus": 10}, "fence": {"fence": 8, "white fence": 2},
}
CLOTHES = {
    "shirt": {"shirt/shirts": 8, "top/tops": 1.3, "t-shirt/t-shirts": 0.8}, "dress": {"dress/dresses": 10},
    "jacket": {"jacket/jackets": 6, "coat/coats": 3},
}
COLOURS = {
    "red": {"red": 1}, "blue": {"blue": 1}, "yellow": {"yellow": 1}, "green": {"green": 1}, "white": {"white": 1}, "black": {"black": 1},
    "pink": {"pink": 1}, "orange": {"orange": 1}, "brown": {"brown": 9, "tan": 0.6}, "gray": {"gray": 7, "grey": 2},
}
COUNTS = {2: {"two": 9, "a couple of": 0.6, "a pair of": 0.6}, 3: {"three": 9, "a group of": 1.2, "several": 0.6}}
# "{}" stands for the object. A verb may be used only of people, or only of animals, where its list's name says so.
VERBS = {
    "run people": {"run": 9, "jog": 1.4, "race": 0.4, "sprint": 0.4},
    "run": {"run": 9, "race": 0.7, "dash": 0.3},
    "run horse": {"run": 7, "gallop": 3},
    "walk": {"walk": 9, "stroll": 0.9}, "walk cat": {"walk": 9, "wander": 0.5},
    "jump": {"jump": 7, "jump in the air": 2, "jump up": 0.8, "leap": 0.9, "leap into the air": 0.6},
    "wave": {"wave": 6, "stand and wave": 1.5, "wave hello": 0.8, "stand": 1.2},
    "sit bench": {"sit on {}": 10, "rest on {}": 1},
    "kick ball": {"kick {}": 6, "play with {}": 2.4, "play soccer with {}": 0.8, "play soccer": 1},
    "hold umbrella": {"hold {}": 6, "stand under {}": 1.4, "carry {}": 1, "stand with {}": 1},
    "hold balloons": {"hold {}": 8, "carry {}": 1, "stand with {}": 1},
    "fly kite": {"fly {}": 9, "play with {}": 1},
    "ride bicycle": {"ride {}": 9, "cycle": 0.8}, "ride horse": {"ride {}": 9, "sit on {}": 0.6},
    "ride skateboard": {"ride {}": 5, "skateboard": 3, "skate": 1},
    "ski": {"ski": 10}, "sled sled": {"ride {}": 4, "sit on {}": 2, "slide on {}": 1.4, "sled": 2},
    "surf surfboard": {"surf": 5, "ride {}": 2, "surf on {}": 2, "ride a wave": 1.6, "stand on {}": 0.5},
    "swim": {"swim": 10}, "row boat": {"row {}": 7, "sit in {}": 1.6, "paddle {}": 1},
    "lead": {"walk {}": 8, "walk with {}": 1.5},
    "jump ball": {"jump for {}": 4, "jump to catch {}": 3, "leap for {}": 1.2, "jump up for {}": 0.8, "catch {}": 1.2, "play with {}": 0.8},
    "sit": {"sit": 10, "rest": 0.4}, "sleep": {"sleep": 7, "lie": 1.4, "rest": 0.8},
    "graze": {"eat grass": 4, "graze": 4, "eat": 1.2},
    "fly": {"fly": 10, "soar": 0.6}, "drive": {"drive": 9, "travel": 0.6}, "sail": {"sail": 9, "float": 1.2},
    "float": {"fly": 5, "float": 4, "rise": 0.4},
}
MOTION = ("run", "walk", "lead", "ride", "drive", "ski", "sled")  # what can go along, through or down a place
PLACES = {  # {} of place: where one is; "... along" where one moves
    "beach": {"on the beach": 8, "on a beach": 2, "at the beach": 1.5, "on the sand": 1.2, "by the ocean": 0.7},
    "beach along": {"on the beach": 6, "along the beach": 4, "on the sand": 1, "by the ocean": 0.6},
    "street": {"on the street": 5, "in the street": 2, "in the city": 2, "on a city street": 1.5},
    "street along": {"down the street": 6, "on the street": 2.6, "down the road": 1.4, "through the city": 1.2, "on the road": 1},
    "park": {"in the park": 6, "in a park": 1.6, "on the grass": 3, "in the grass": 1},
    "park along": {"in the park": 5, "through the park": 3, "on the grass": 1.8, "across the grass": 1},
    "snow": {"in the snow": 8, "in the mountains": 1.4, "on a snowy mountain": 0.7},
    "snow along": {"in the snow": 6, "through the snow": 3, "in the mountains": 1},
    "lake": {"in the lake": 4, "in a lake": 2, "in the water": 4},
    "lake on": {"on the lake": 4, "on a lake": 2, "on the water": 3},
    "lake over": {"over the lake": 4, "over a lake": 2, "over the water": 4},
    "sea": {"in the ocean": 5, "in the sea": 2, "in the water": 2.5},
    "sea on": {"on the ocean": 4, "on the sea": 2.4, "on the water": 2.4}, "sea over": {"over the ocean": 4, "over the sea": 2, "over the water": 3},
    "desert": {"in the desert": 9, "in the sand": 0.8}, "desert along": {"through the desert": 4, "in the desert": 5, "across the desert": 1.2},
    "farm": {"in a field": 5, "in the field": 3, "on a farm": 3}, "farm along": {"through a field": 3, "in a field": 4, "across the field": 1.4, "on a farm": 2},
    "forest": {"in the forest": 5, "in the woods": 4}, "forest along": {"through the forest": 5, "in the woods": 2.4, "through the woods": 2.4, "in the forest": 2},
    "beach over": {"over the beach": 5, "over the ocean": 2}, "snow over": {"over the mountains": 6, "over the snow": 2},
    "desert over": {"over the desert": 9}, "farm over": {"over a farm": 4, "over a field": 4, "over the field": 2},
}
TIMES = {"sunset": {"at sunset": 7, "as the sun sets": 1.2, "in the evening": 1.2}, "night": {"at night": 9, "in the dark": 1, "under the moon": 0.5},
         "rain": {"in the rain": 9, "on a rainy day": 1.5}, "day": {"on a sunny day": 6, "under a blue sky": 1}}
RELATIONS = {"left": {"next to {}": 4, "beside {}": 1.6, "to the left of {}": 2, "near {}": 1.6}, "right": {"next to {}": 4, "beside {}": 1.6,
             "to the right of {}": 2, "near {}": 1.6}, "under": {"under {}": 8, "near {}": 1}, "behind": {"behind {}": 9}}

# What each place, action and thing may also be called, for the reader: label -> words.
PLACE_WORDS = {"beach": ("beach",), "sand": ("sand",), "sea": ("ocean", "sea"), "water": ("water",), "lake": ("lake",),
               "road": ("street", "road"), "city": ("city",), "park": ("park",), "grass": ("grass",), "field": ("field", "farm"),
               "snow": ("snow", "snowy"), "mountain": ("mountain", "mountains"), "desert": ("desert",), "forest": ("forest", "woods")}
PLACE_LABELS = {"beach": ("beach", "sand", "sea", "water"), "street": ("road", "city"), "park": ("park", "grass"), "snow": ("snow", "mountain"),
                "lake": ("lake", "water"), "sea": ("sea", "water"), "desert": ("desert", "sand", "road"), "farm": ("field", "grass"),
                "forest": ("forest",)}
KIND_LABELS = {"man": ("man", "person"), "woman": ("woman", "person"), "boy": ("boy", "child", "person"), "girl": ("girl", "child", "person"),
               "dog": ("dog", "animal"), "cat": ("cat", "animal"), "horse": ("horse", "animal"), "bird": ("bird",), "duck": ("duck", "bird"),
               "car": ("car", "vehicle"), "bus": ("bus", "vehicle"), "truck": ("truck", "vehicle"), "sailboat": ("sailboat", "boat"),
               "balloon": ("hot air balloon", "balloon"), "balloons": ("balloon",), "bicycle": ("bicycle",), "boat": ("boat",), "palm": ("tree",)}
NOUN_LABELS = {  # every noun the reader knows, singular and plural -> label
    "guy": "man", "person": "person", "someone": "person", "lady": "woman", "child": "child", "kid": "child", "puppy": "dog", "kitten": "cat",
    "pony": "horse", "animal": "animal", "vehicle": "vehicle", "boat": "boat", "rowboat": "boat", "bike": "bicycle", "sledge": "sled",
}
ACTION_LABELS = {  # canonical action -> verbs; a verb may stand for several actions
    "run": ("run", "jog", "race", "sprint", "dash", "gallop"), "walk": ("walk", "stroll", "wander"), "jump": ("jump", "leap"), "wave": ("wave",),
    "stand": ("stand",), "sit": ("sit",), "rest": ("rest", "lie"), "kick": ("kick",), "play": ("play",), "hold": ("hold", "carry"),
    "fly": ("fly", "soar"), "ride": ("ride", "cycle", "skateboard", "skate"), "ski": ("ski",), "sled": ("sled", "slide"), "surf": ("surf",),
    "swim": ("swim",), "row": ("row", "paddle"), "catch": ("catch",), "sleep": ("sleep",), "eat": ("eat", "graze"), "drive": ("drive", "travel"),
    "sail": ("sail",), "float": ("float", "rise"),
}
ACTION_TRUE = {  # a scene's action -> canonical actions that are true of it, the plainest first
    "run": ("run",), "walk": ("walk",), "jump": ("jump",), "wave": ("wave", "stand"), "sit": ("sit", "rest"), "kick": ("kick", "play"),
    "hold": ("hold", "stand"), "fly": ("fly",), "ride": ("ride", "sit"), "ski": ("ski",), "sled": ("sled", "ride", "sit"), "surf": ("surf", "ride", "stand"),
    "swim": ("swim",), "row": ("row", "sit"), "lead": ("walk",), "sleep": ("sleep", "rest"), "graze": ("eat",), "drive": ("drive",),
    "sail": ("sail", "float"), "float": ("float", "fly"),
}
