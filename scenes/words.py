"""The words for everything in a scene, for the grammar that writes captions and the reader that checks them.

Tables are text: `name: choice weight | choice weight | ...`; the weight is how often people choose it (1 if
left out). Nouns are "singular/plural". "{}" stands for an object.
"""

from __future__ import annotations

Choices = dict[str, float]


def _table(text: str) -> dict[str, Choices]:
    """Parses a table: one entry a line; lines that start with `|` continue the entry above."""
    entries: dict[str, Choices] = {}
    for line in text.replace("\n    |", " |").strip().splitlines():
        name, _, options = line.strip().partition(": ")
        entries[name] = {}
        for option in options.split("|"):
            words, _, weight = option.strip().rpartition(" ")
            number = weight.replace(".", "").isdigit()
            entries[name][words if number else option.strip()] = float(weight) if number else 1.0
    return entries


NOUNS = _table("""
man: man/men 6 | guy/guys 1.4 | young man/young men 1 | person/people 1.6
woman: woman/women 6 | lady/ladies 1.4 | young woman/young women 1.2 | person/people 1.4
boy: boy/boys 4.5 | little boy/little boys 1.5 | young boy/young boys 1.5 | child/children 1.2 | kid/kids 0.8
girl: girl/girls 4.5 | little girl/little girls 1.5 | young girl/young girls 1.5 \
| child/children 1.2 | kid/kids 0.6
couple: man and a woman 5 | woman and a man 2 | couple 1.6
children: boy and a girl 5 | girl and a boy 2
dog: dog/dogs 9 | puppy/puppies 1.2 | animal/animals 0.3
cat: cat/cats 9 | kitten/kittens 1.2 | animal/animals 0.3
horse: horse/horses 9 | pony/ponies 1 | animal/animals 0.3
bird: bird/birds 10
duck: duck/ducks 8 | bird/birds 1.6
car: car/cars 9 | vehicle/vehicles 1
bus: bus/buses 9 | city bus/city buses 1 | vehicle/vehicles 0.5
truck: truck/trucks 8 | big truck/big trucks 1 | vehicle/vehicles 0.8
sailboat: sailboat/sailboats 6 | boat/boats 3 | sailing boat/sailing boats 1
balloon: hot air balloon/hot air balloons 8 | balloon/balloons 2
ball: ball/balls
umbrella: umbrella/umbrellas
balloons: balloon/balloons
kite: kite/kites
bicycle: bike/bikes 6 | bicycle/bicycles 4
skateboard: skateboard/skateboards
sled: sled/sleds 9 | sledge/sledges 1
surfboard: surfboard/surfboards
boat: boat/boats 8 | rowboat/rowboats 2 | little boat/little boats 1
bench: bench/benches 8 | wooden bench/wooden benches 2
tree: tree/trees
palm: palm tree/palm trees 8 | tree/trees 2
cactus: cactus/cacti
fence: fence/fences 7 | white fence/white fences 2 | wooden fence/wooden fences 1
""")
CLOTHES = _table("""
shirt: shirt/shirts 6 | top/tops 1.5 | t-shirt/t-shirts 1.5 | tee shirt/tee shirts 0.5
dress: dress/dresses 9 | skirt/skirts 0.4
jacket: jacket/jackets 5 | coat/coats 3 | winter coat/winter coats 0.8
""")
MANNERS = _table("""
clothes: in {g} 6 | wearing {g} 3 | in {c} 1.6 | dressed in {c} 0.8 | with {g} 0.6 | who is wearing {g} 0.5
""")["clothes"]
COLOURS = _table("""
brown: brown 8 | tan 0.8
gray: gray 7 | grey 2
orange: orange
""")
HAIR = _table("""
blond: blond {n} 5 | blonde {n} 2 | {n} with blond hair 4
red: {n} with red hair 3 | red-haired {n} 2
beard: bearded {n} 4 | {n} with a beard 5
cap: {n} in a cap 3 | {n} wearing a cap 3
""")
COUNTS = _table("""
2: two 8 | a couple of 0.8 | a pair of 0.8
3: three 8 | a group of 1.6 | several 1 | some 0.6
""")
VERBS = _table("""
run people: run 6 | jog 2 | race 0.6 | sprint 0.7 | run fast 0.5
run horse: run 6 | gallop 4
run: run 8 | race 1 | dash 0.6 | run fast 0.8
walk cat: walk 8 | wander 0.9 | stroll 0.4
walk: walk 8 | stroll 1.2 | take a walk 0.8 | go for a walk 0.5
jump: jump 5 | jump in the air 2 | jump up 1 | leap 1 | leap into the air 1 \
| jump for joy 0.6 | jump up and down 0.5
wave: wave 5 | stand and wave 1.5 | wave hello 1 | stand 1.2 | wave at the camera 0.8 | raise a hand 0.6
sit bench: sit on {} 9 | rest on {} 1.4 | relax on {} 1
kick ball: kick {} 5 | play with {} 2.5 | play soccer with {} 1 | play soccer 1.2 | play football 0.5
hold umbrella: hold {} 5 | stand under {} 2 | carry {} 1.2 | stand with {} 1.2
hold balloons: hold {} 6 | carry {} 1.4 | stand with {} 1.5
fly kite: fly {} 8 | play with {} 1.6 | hold the string of {} 0.4
ride bicycle: ride {} 8 | cycle 1.4
ride horse: ride {} 8 | sit on {} 1 | go for a ride on {} 0.5
ride skateboard: ride {} 5 | skateboard 4 | skate 1.5
ski: ski 9 | go skiing 1
sled sled: ride {} 5 | slide on {} 1.6 | sled 2.4
surf surfboard: surf 5 | ride {} 2 | surf on {} 2 | ride a wave 3 | surf a wave 1 | stand on {} 0.8
    | balance on {} 0.8
swim: swim 9 | go for a swim 1 | take a swim 0.6
row boat: row {} 7 | sit in {} 2.4 | paddle {} 1.6
lead: walk {} 7 | walk with {} 2.5 | take {} for a walk 1
jump ball: jump for {} 4 | jump to catch {} 3 | leap for {} 1.5 | jump up for {} 1 \
| catch {} 2 | play with {} 1.2
    | chase {} 0.8
sit: sit 9 | rest 0.8 | sit still 0.4
sleep: sleep 6 | lie 1.6 | rest 1.2 | take a nap 1 | nap 0.6 | lie down 0.8
graze: eat grass 4 | graze 4 | eat 1.6
fly: fly 9 | soar 1.2 | glide 0.8
drive: drive 8 | travel 1.2
sail: sail 8 | float 2 | travel 0.4
float: fly 5 | float 4 | rise 0.8
""")
MOTION = ("run", "walk", "lead", "ride", "drive", "ski", "sled")  # what goes along, through or down a place
PLACES = _table("""
beach: on the beach 6 | on a beach 2 | at the beach 2 | on the sand 1.5 | by the ocean 1 | by the sea 0.8
    | on the shore 0.8 | near the water 1.2 | on a sandy beach 1
beach along: on the beach 4 | along the beach 4 | down the beach 1 | on the sand 1 | by the ocean 0.8
    | along the shore 1 | through the sand 0.8 | near the water 1 | on a sandy beach 0.8
beach over: over the beach 4 | over the ocean 3 | over the water 2 | above the beach 1 | above the sea 1
street: on the street 4 | in the street 2 | in the city 2.5 | on a city street 2 | in front of buildings 1.2
    | on the road 1 | in front of some colorful houses 1 | in town 0.6
street along: down the street 5 | on the street 2 | down the road 2 | through the city 1.6 | on the road 1.4
    | past some buildings 1.2 | on a city street 1.2 | along a city street 0.8 | through town 0.7
    | past colorful houses 0.8
park: in the park 5 | in a park 2 | on the grass 3 | in the grass 1.5 | on the green grass 1 \
| near some trees 1
    | in front of trees 1 | in a grassy area 0.6
park along: in the park 4 | through the park 3 | on the grass 1.6 | across the grass 1.4 \
| in a grassy area 0.8
    | past some trees 1 | across the green grass 0.8
snow: in the snow 7 | in the mountains 1.5 | on a snowy mountain 1 | in front of the mountains 1
    | in the deep snow 0.6 | near some pine trees 0.8
snow along: in the snow 4 | through the snow 4 | in the mountains 1.4 | past some pine trees 1 \
| across the snow 1
snow down: down a snowy hill 3 | down a hill 1 | in the snow 3 | through the snow 1.5 \
| down a snowy mountain 1.5
    | down the slope 1 | in the mountains 1 | on the slopes 0.8
snow over: over the mountains 6 | over the snow 2 | above the mountains 2 | over snowy mountains 1.6
lake: in the lake 4 | in a lake 2.4 | in the water 5 | in the blue water 0.8 | near some trees 0.6
lake on: on the lake 4 | on a lake 2.4 | on the water 3 | in the water 1
lake over: over the lake 3 | over a lake 2 | over the water 4 | above the lake 1 | above the trees 0.8
sea: in the ocean 5 | in the sea 2.4 | in the water 3 | in the waves 1 | in the blue ocean 0.6
sea on: on the ocean 4 | on the sea 2.4 | on the water 3 | in the ocean 1.4 | over the waves 0.6
sea over: over the ocean 4 | over the sea 2.4 | over the water 3 | above the waves 1.2
desert: in the desert 8 | in the sand 1.4 | near a cactus 1 | in a sandy desert 0.8 | in a dry place 0.3
desert along: through the desert 4 | in the desert 4 | across the desert 2 | past a cactus 1 \
| through the sand 1
    | over the sand 0.8
desert over: over the desert 8 | above the desert 2 | over the sand 1 | above a cactus 0.3
farm: in a field 4 | in the field 3 | on a farm 3 | in front of a barn 1.4 | near a red barn 1.4
    | in a yellow field 1 | near a fence 0.8 | in a wheat field 0.6
farm along: through a field 3 | in a field 3 | across the field 2 | on a farm 2 | past a red barn 1.4
    | through the yellow field 0.8 | near a barn 0.8
farm over: over a farm 4 | over a field 4 | over the field 2 | above a barn 1.2 | over a yellow field 0.8
forest: in the forest 5 | in the woods 4 | among the trees 1.2 | under the trees 0.7
forest along: through the forest 5 | in the woods 2.4 | through the woods 3 | in the forest 2 \
| among the trees 1
    | between the trees 1 | past tall trees 0.7
""")
TIMES = _table("""
sunset: at sunset 6 | as the sun sets 1.6 | in the evening 1.5 | at dusk 1 | under an orange sky 0.8
night: at night 7 | in the dark 1.4 | under the moon 1 | under the stars 1.2 | in the moonlight 0.8
rain: in the rain 7 | on a rainy day 2.4 | on a gray day 0.6
day: on a sunny day 5 | under a blue sky 2 | in the sunshine 1.6 | on a bright day 0.5
""")
TRAITS = _table("""
dog: with a red collar 3 | with a long tail 1
cat: with green eyes 2 | with a long tail 2 | with pointed ears 1
horse: with a long tail 2 | with a long mane 1
duck: with a yellow beak 3
bird: with open wings 2 | with big wings 1
""")
EXTRAS = _table("""
people jump: with {p} arms in the air 3 | with {p} arms up 2 | happily 1 | with both arms raised 1
people run: quickly 2 | alone 1 | in a hurry 1 | for exercise 1 | with a smile 0.6
people walk: alone 2 | slowly 2 | in the fresh air 1 | with a smile 0.6
people wave: with a smile 2 | and smiles 1.4 | with one arm up 2 | alone 0.5
people sit: alone 2 | with {p} hands on {p} knees 1 | and looks around 1 | quietly 1.4 | and waits 1
people hold: with a smile 1.4 | in {p} hand 2 | and looks up 0.6 | alone 0.6
people kick: with {p} foot 2 | by {p}self 1 | alone 1
people fly: in the wind 2 | high in the sky 2 | with one hand 1
people ride: alone 2 | with a smile 1.4 | happily 1 | in the fresh air 0.8
people ski: fast 2 | with two poles 2 | with ski poles 2 | at full speed 1
people sled: with {p} legs out 1 | fast 1 | on a cold day 1
people surf: with {p} arms out 3 | with {p} arms spread 1.4 | skillfully 1
people swim: with one arm in the air 2 | with one arm up 2 | alone 1
people row: with an oar 2 | with a paddle 2 | slowly 1
pair: together 4 | side by side 2
dog run: with its tail up 1.4 | fast 1 | happily 1
dog sit: patiently 1.4 | and waits 1 | quietly 1
dog sleep: with its eyes closed 2 | peacefully 1.4 | on its belly 1
dog swim: with its head above the water 2 | happily 1
dog jump: with its front legs out 1 | happily 1
cat sit: and looks at the camera 2 | quietly 1 | with its tail out 0.6
cat sleep: with its eyes closed 2 | peacefully 1.4 | curled up 1
cat walk: with its tail up 3 | slowly 1 | quietly 1
horse run: fast 1 | at full speed 2 | with its legs stretched out 1
horse graze: with its head down 3 | quietly 1
bird fly: in the sky 2 | in the air 1 | high in the sky 1
duck swim: slowly 1 | quietly 1
car drive: slowly 1 | fast 1 | alone 0.6
bus drive: slowly 1.4 | with many windows 0.7 | on its route 0.7
truck drive: with a big load 0.6 | slowly 1
sailboat sail: in the wind 2 | slowly 1 | with full sails 1.6
balloon float: in the sky 3 | in the air 2 | high above the ground 1.4 | high in the sky 1
""")
RELATIONS = _table("""
left: next to {} 4 | beside {} 2 | to the left of {} 2 | near {} 2 | by {} 1
right: next to {} 4 | beside {} 2 | to the right of {} 2 | near {} 2 | by {} 1
under: under {} 7 | in the shade of {} 1 | near {} 1 | beneath {} 0.7
behind: behind {}
""")

# For the reader: the labels that a word stands for, and the labels that are true of what a scene has.
PLACE_WORDS = {
    "beach": "beach shore", "sand": "sand sandy", "sea": "ocean sea", "waves": "waves", "water": "water",
    "lake": "lake", "road": "street road", "city": "city town buildings houses", "park": "park",
    "grass": "grass grassy", "field": "field farm barn wheat", "snow": "snow snowy",
    "mountain": "mountain mountains hill slope slopes", "desert": "desert dry", "forest": "forest woods",
}  # fmt: skip
PLACE_LABELS = {
    "beach": ("beach", "sand", "sea", "water", "waves"),
    "street": ("road", "city"),
    "park": ("park", "grass"),
    "snow": ("snow", "mountain"),
    "lake": ("lake", "water"),
    "sea": ("sea", "water", "waves"),
    "desert": ("desert", "sand"),
    "farm": ("field", "grass"),
    "forest": ("forest",),
}
SCENERY = {
    "park": ("tree",),
    "snow": ("tree",),
    "lake": ("tree",),
    "forest": ("tree",),
    "farm": ("fence",),
    "desert": ("cactus",),
}
TIME_WORDS = {
    "sunset": "sunset sets evening dusk", "night": "night dark moon stars moonlight", "rain": "rain rainy",
    "day": "sunny sunshine bright",
}  # fmt: skip
KIND_LABELS = {
    "man": ("man", "person"), "woman": ("woman", "person"), "boy": ("boy", "child", "person"),
    "girl": ("girl", "child", "person"), "dog": ("dog", "animal"), "cat": ("cat", "animal"),
    "horse": ("horse", "animal"), "duck": ("duck", "bird"), "car": ("car", "vehicle"),
    "bus": ("bus", "vehicle"), "truck": ("truck", "vehicle"), "sailboat": ("sailboat", "boat"),
    "balloon": ("hot air balloon", "balloon"), "balloons": ("balloon",), "palm": ("tree",),
}  # fmt: skip
SAME_AS = {  # a noun's last word -> its label, where that is not the entry it first stands in
    "person": "person", "child": "child", "kid": "child", "animal": "animal", "vehicle": "vehicle",
    "boat": "boat", "tree": "tree", "bird": "bird", "balloon": "balloon", "sailboat": "sailboat",
}  # fmt: skip
ACTION_WORDS = {
    "run": "run jog race sprint dash gallop chase", "walk": "walk stroll wander", "jump": "jump leap",
    "wave": "wave raise", "stand": "stand balance", "sit": "sit", "rest": "rest lie relax", "kick": "kick",
    "play": "play", "hold": "hold carry", "fly": "fly soar glide", "ride": "ride cycle skateboard skate",
    "ski": "ski", "sled": "sled slide", "surf": "surf", "swim": "swim", "row": "row paddle", "catch": "catch",
    "sleep": "sleep nap", "eat": "eat graze", "drive": "drive travel", "sail": "sail", "float": "float rise",
}  # fmt: skip
ACTION_LABELS = {  # a scene's action, with its object where that matters -> what is true of it
    "run": ("run",), "walk": ("walk",), "jump": ("jump",), "jump ball": ("jump", "catch", "play", "run"),
    "wave": ("wave", "stand"), "sit": ("sit", "rest"), "kick": ("kick", "play"), "hold": ("hold", "stand"),
    "fly": ("fly",), "fly kite": ("fly", "play", "hold"), "ride": ("ride", "sit"), "ski": ("ski",),
    "sled": ("sled", "ride", "sit"), "surf": ("surf", "ride", "stand"), "swim": ("swim",),
    "row": ("row", "sit"), "lead": ("walk",), "sleep": ("sleep", "rest"), "graze": ("eat",),
    "drive": ("drive",), "sail": ("sail", "float", "drive"), "float": ("float", "fly"),
}  # fmt: skip
