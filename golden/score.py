"""Scores of demo pictures as PIL and numpy compute them, for tests/unit_score.c.

Writes golden/score/: colours.png and colours_hsv.png (random colours, PIL's HSV of them as if it were RGB), prompts.txt, before/ and after/ with made-up
pictures that are right, half right or wrong, and score.json: {"before": [[identity, background], ...], "after": ...}. Needs numpy and Pillow."""
import json
import os

import numpy as np
from PIL import Image

REFERENCE = {"face": (574.0, 528.0), "bust": (496.5, 396.5), "full body": (178.5, 154.5)}
CENTROID = {
    "forest": [141, 190, 145, 167, 176, 147, 133, 178, 108],
    "ocean": [164, 217, 249, 100, 153, 201, 230, 207, 163],
    "plain background": [238, 237, 236, 222, 217, 216, 224, 221, 220],
    "street": [199, 208, 220, 167, 158, 153, 126, 124, 130],
}


def identity(picture, framing):
    h, s, v = np.moveaxis(np.asarray(Image.fromarray(picture).convert("HSV")).astype(float) * [360 / 255, 1 / 255, 1 / 255], -1, 0)
    teal = (h >= 165) & (h <= 198) & (s > 0.45) & (v > 0.35)
    orange = (h >= 10) & (h <= 28) & (s > 0.68) & (v > 0.7)
    if not teal.any() or not orange.any() or not np.nonzero(teal)[1].mean() + 4 < np.nonzero(orange)[1].mean():
        return 0.0
    return min(1.0, teal.sum() / REFERENCE[framing][0], orange.sum() / REFERENCE[framing][1])


def background(picture):
    border = np.concatenate([picture[:, :6], picture[:, -6:]], 1).astype(float)
    means = np.concatenate([border[a:b].mean((0, 1)) for a, b in ((0, 20), (40, 56), (84, 96))])
    return min(CENTROID, key=lambda name: ((means - CENTROID[name]) ** 2).sum())


def draw(rng, ground, swap, teal, orange):
    """A background's colours in three bands, blocks of noise, and locks of hair: teal and orange near the limits of what counts."""
    picture = np.repeat(np.array(CENTROID[ground], float).reshape(3, 3), 32, 0)[:, None] + np.zeros((96, 64, 3))
    picture += np.kron(rng.integers(-60, 60, (12, 8, 3)), np.ones((8, 8, 1)))
    for side, (low, high, count) in enumerate(((105, 150, teal), (2, 25, orange))):
        for x, y in zip(rng.integers(0, 4, count), rng.integers(2, 16, count)):
            hsv = np.uint8([rng.integers(low, high), rng.integers(100, 256), rng.integers(80, 256)])
            colour = np.asarray(Image.fromarray(hsv[None, None], "HSV").convert("RGB"))[0, 0]
            left = 8 + 6 * x + 24 * (side ^ swap)
            picture[4 * y:4 * y + 6, left:left + 6] = colour
    return picture.clip(0, 255).astype(np.uint8)


def edge(rng, ground, other, distance):
    """Rows of two backgrounds in turn by chance, so that a row more or less decides; a teal and an orange square, the means of x `distance` apart."""
    bands = (np.repeat(np.array(CENTROID[name], float).reshape(3, 3), 32, 0) for name in (ground, other))
    picture = np.where(rng.random((96, 1)) < 0.5, *bands)[:, None] + np.zeros((96, 64, 3))
    picture[20:40, 20:40], picture[60:80, 20 + distance:40 + distance] = (20, 200, 190), (250, 120, 40)
    return picture.astype(np.uint8)


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "score")
    rng = np.random.default_rng(7)
    colours = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    colours[:8] = colours[:8, :, :1]
    colours[8:16, :, 1] = colours[8:16, :, 0]
    os.makedirs(folder, exist_ok=True)
    Image.fromarray(colours).save(os.path.join(folder, "colours.png"), optimize=True)
    hsv = np.asarray(Image.fromarray(colours).convert("HSV"))
    Image.fromarray(np.ascontiguousarray(hsv), "RGB").save(os.path.join(folder, "colours_hsv.png"), optimize=True)

    framings, grounds, scores = list(REFERENCE), list(CENTROID), {"before": [], "after": []}
    prompts = [(framings[k % 3], grounds[k % 4]) for k in range(16)]
    with open(os.path.join(folder, "prompts.txt"), "w") as file:
        file.write("# framing and background among other tags\n\n")
        file.writelines(f"mochi, {framing}, long hair, {ground}, full bodyguard --d {k}\n" for k, (framing, ground) in enumerate(prompts))
    for name, share in (("before", 0.3), ("after", 1.0)):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for k, (framing, ground) in enumerate(prompts):
            other = grounds[(k + 1) % 4]
            if k < 8:
                count = int(40 * share)
                picture = draw(rng, other if name == "before" and k % 2 else ground, k % 3 == 2 and name == "before", count // (1 + k % 2), count)
            else:
                picture = edge(rng, ground, other, k - 8)
            Image.fromarray(picture).save(os.path.join(folder, name, f"{k:05d}.png"), optimize=True)
            scores[name].append([identity(picture, framing), background(picture)])
    with open(os.path.join(folder, "score.json"), "w") as file:
        rows = {name: ",\n".join(json.dumps(row) for row in scores[name]) for name in scores}
        file.write(f'{{"before": [\n{rows["before"]}],\n"after": [\n{rows["after"]}]}}\n')


if __name__ == "__main__":
    main()
