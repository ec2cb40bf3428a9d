"""The colours of the illustrations: clothes and vehicles, coats of animals, skins, hair."""

from __future__ import annotations

PAINT = {  # clothes, vehicles, balls, umbrellas, kites, balloons
    "red": (222, 52, 56),
    "blue": (44, 104, 214),
    "yellow": (252, 204, 40),
    "green": (44, 156, 84),
    "white": (250, 248, 242),
    "black": (44, 42, 52),
    "pink": (246, 124, 172),
    "orange": (246, 132, 40),
}
COAT = {  # animals
    "brown": (146, 88, 48),
    "black": (50, 46, 54),
    "white": (248, 244, 236),
    "orange": (236, 146, 60),
    "gray": (148, 150, 162),
    "blue": (56, 122, 214),
    "red": (214, 62, 58),
}
SKIN = ((252, 216, 186), (242, 194, 156), (224, 168, 124), (176, 118, 80), (128, 82, 56))
HAIR = {"black": (44, 36, 40), "brown": (104, 64, 38), "blond": (226, 180, 92), "red": (190, 78, 38)}
TROUSERS = ((58, 70, 104), (76, 74, 84), (126, 104, 82), (52, 86, 118))
SHOES = ((60, 48, 52), (240, 236, 228), (120, 66, 50))
