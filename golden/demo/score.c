/* score.c - did the demo's LoRA learn its character? Two scores of pictures, by plain pixel arithmetic:
 *
 *   score --prompts FILE --before DIR --after DIR [--without DIR]
 *
 * DIR holds 00000.png, 00001.png ... in the order of the prompts: drawn without the LoRA, with it, and with it but without the trigger word. Each prompt
 * names a framing and a background among its tags.
 *   identity, 0..1   The character's hair is teal on the left and orange on the right: pixels of teal lie left of those of orange by more than 4 pixels of
 *                    mean x, and there are as many of both as in real pictures of that framing (medians over 96 of them, through the VAE).
 *   prompt, 0..1     Share of pictures whose border is nearest to the asked background's mean colours. */
#include "base/err.h"
#include "diffusion/sample_config.h"
#include "io/image.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 64, HEIGHT = 96, FRAMINGS = 3, BACKGROUNDS = 4, REGIONS = 3, BORDER = 6, MAX_PATH = 4096 };
#define HIT 0.25

static const char *const framings[FRAMINGS] = { "face", "bust", "full body" };
static const double      reference[FRAMINGS][2] = { { 574, 528 }, { 496.5, 396.5 }, { 178.5, 154.5 } }; /* pixels of teal, of orange */

static const char *const backgrounds[BACKGROUNDS] = { "forest", "ocean", "plain background", "street" };
static const double      centroid[BACKGROUNDS][REGIONS * 3] = {
    { 141, 190, 145, 167, 176, 147, 133, 178, 108 },
    { 164, 217, 249, 100, 153, 201, 230, 207, 163 },
    { 238, 237, 236, 222, 217, 216, 224, 221, 220 },
    { 199, 208, 220, 167, 158, 153, 126, 124, 130 },
};
static const int region[REGIONS][2] = { { 0, 20 }, { 40, 56 }, { 84, 96 } };            /* rows of the border columns */

/* Hue, saturation and value as bytes, as PIL's convert("HSV") has them: in float, each quotient rounded, the results cut off. */
static void hsv_of(uint8_t hsv[3], const uint8_t rgb[3])
{
    int r = rgb[0], g = rgb[1], b = rgb[2];
    int high = r > g ? r : g, low = r < g ? r : g;
    if (b > high) high = b;
    if (b < low) low = b;
    hsv[0] = hsv[1] = 0, hsv[2] = (uint8_t)high;
    if (high == low) return;

    float range = (float)(high - low), from_r = (float)(high - r) / range, from_g = (float)(high - g) / range, from_b = (float)(high - b) / range;
    float turn = r == high ? from_b - from_g : g == high ? (float)(2.0 + from_r - from_b) : (float)(4.0 + from_g - from_r);         /* sixths of a circle */
    float hue = (float)fmod(turn / 6.0 + 1.0, 1.0);
    hsv[0] = (uint8_t)(hue * 255.0), hsv[1] = (uint8_t)(range / (float)high * 255.0);
}

static double identity_of(const Image *image, int framing)
{
    double count[2] = { 0 }, x_sum[2] = { 0 };          /* teal, orange */
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            uint8_t hsv[3];
            hsv_of(hsv, image->rgb + 3 * (y * WIDTH + x));
            double h = hsv[0] * (360.0 / 255), s = hsv[1] * (1.0 / 255), v = hsv[2] * (1.0 / 255);
            int    teal = h >= 165 && h <= 198 && s > 0.45 && v > 0.35, orange = h >= 10 && h <= 28 && s > 0.68 && v > 0.7;
            if (teal) count[0]++, x_sum[0] += x;
            if (orange) count[1]++, x_sum[1] += x;
        }
    if (!count[0] || !count[1] || !(x_sum[0] / count[0] + 4 < x_sum[1] / count[1])) return 0;
    return fmin(1, fmin(count[0] / reference[framing][0], count[1] / reference[framing][1]));
}

/* The background whose mean colours of the border's three regions are nearest. */
static int background_of(const Image *image)
{
    double mean[REGIONS * 3] = { 0 }, best_distance = INFINITY;
    int    best = 0;
    for (int k = 0; k < REGIONS; k++)
        for (int y = region[k][0]; y < region[k][1]; y++)
            for (int x = 0; x < WIDTH; x++)
                for (int c = 0; c < 3 && (x < BORDER || x >= WIDTH - BORDER); c++)
                    mean[3 * k + c] += image->rgb[3 * (y * WIDTH + x) + c] / (double)((region[k][1] - region[k][0]) * 2 * BORDER);
    for (int b = 0; b < BACKGROUNDS; b++) {
        double distance = 0;
        for (int j = 0; j < REGIONS * 3; j++) distance += (mean[j] - centroid[b][j]) * (mean[j] - centroid[b][j]);
        if (distance < best_distance) best = b, best_distance = distance;
    }
    return best;
}

/* Which of the names is a tag of the prompt? -1: none. */
static int find_tag(const char *prompt, const char *const *names, int count)
{
    for (size_t length; *prompt; prompt += length + (prompt[length] == ',')) {
        prompt += strspn(prompt, " ");
        length = strcspn(prompt, ",");
        for (int k = 0; k < count; k++)
            if (strlen(names[k]) == length && !strncmp(prompt, names[k], length)) return k;
    }
    return -1;
}

typedef struct {
    int    pictures[FRAMINGS], hits, right;
    double identity[FRAMINGS];
} Score;

/* Adds the picture DIR/number.png, drawn for that framing and background. 0, or -1 and err(). */
static int score_add(Score *s, const char *dir, int number, int framing, int background)
{
    char  path[MAX_PATH];
    Image image;
    snprintf(path, sizeof path, "%s/%05d.png", dir, number);
    if (image_load(&image, path, IMAGE_WHITE)) return -1;
    int fits = image.w == WIDTH && image.h == HEIGHT;
    if (!fits) err("%s: a picture of %d x %d was expected, not %d x %d", path, WIDTH, HEIGHT, image.w, image.h);
    else {
        double identity = identity_of(&image, framing);
        s->pictures[framing]++, s->identity[framing] += identity;
        s->hits += identity >= HIT;
        s->right += background_of(&image) == background;
    }
    image_free(&image);
    return fits ? 0 : -1;
}

/* Scores the pictures of all prompts in each of `count` folders. Returns the number of prompts, or -1 and err(). */
static int score_all(Score *scores, const char *const *dirs, int count, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) return err("%s: cannot be read", path);
    char text[MAX_PROMPT];
    int  prompts = 0, status = 0;
    for (int number = 1; !status && fgets(text, sizeof text, file); number++) {
        PromptLine line = { 0 };
        int        read = prompt_line_parse(&line, text, path, number);
        int        framing = find_tag(line.prompt, framings, FRAMINGS), background = find_tag(line.prompt, backgrounds, BACKGROUNDS);
        if (read == 0) continue;
        if (read < 0) status = -1;
        else if (framing < 0 || background < 0)
            status = err("%s:%d: a framing (face, bust, full body) and a background (forest, ocean, plain background, street) were expected", path, number);
        for (int k = 0; k < count && !status; k++) status = score_add(&scores[k], dirs[k], prompts, framing, background);
        prompts++;
    }
    fclose(file);
    return status ? -1 : prompts ? prompts : err("%s: no prompt", path);
}

static double identity_mean(const Score *s)
{
    double sum = 0;
    int    pictures = 0;
    for (int f = 0; f < FRAMINGS; f++) sum += s->identity[f], pictures += s->pictures[f];
    return sum / pictures;
}

/* A column each folder; the last line is for programs to read. 0, or -1 and err(). */
static int report(FILE *out, const char *prompts, const char *const *dirs, int count)
{
    Score scores[3] = { 0 };
    int   pictures = score_all(scores, dirs, count, prompts);
    if (pictures < 0) return -1;

    fprintf(out, "%-20s%9s%9s%s\n", "", "before", "after", count > 2 ? "  without the trigger" : "");
    for (int f = 0; f < FRAMINGS; f++) {
        fprintf(out, "identity, %-10s", framings[f]);
        for (int k = 0; k < count && scores->pictures[f]; k++) fprintf(out, "%9.2f", scores[k].identity[f] / scores[k].pictures[f]);
        fprintf(out, "%s\n", scores->pictures[f] ? "" : "        -");
    }
    fprintf(out, "%-20s", "identity, all");
    for (int k = 0; k < count; k++) fprintf(out, "%9.2f", identity_mean(&scores[k]));
    fprintf(out, "\n%-20s", "hits, from 0.25");
    for (int k = 0; k < count; k++) fprintf(out, "%8d%%", (int)lround(100.0 * scores[k].hits / pictures));
    fprintf(out, "\n%-20s", "prompt");
    for (int k = 0; k < count; k++) fprintf(out, "%9.2f", (double)scores[k].right / pictures);
    fprintf(out, "\n%d prompts\n", pictures);
    fprintf(out, "identity %.2f -> %.2f, prompt %.2f -> %.2f\n", identity_mean(&scores[0]), identity_mean(&scores[1]), (double)scores[0].right / pictures,
            (double)scores[1].right / pictures);
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const options[] = { "--before", "--after", "--without", "--prompts" };
    const char              *values[4] = { 0 };
    for (int k = 1; k < argc; k += 2) {
        int option = 0;
        while (option < 4 && strcmp(argv[k], options[option])) option++;
        if (option == 4 || k + 1 == argc) values[3] = NULL, k = argc;
        else values[option] = argv[k + 1];
    }
    if (!values[0] || !values[1] || !values[3]) {
        fputs("usage: score --prompts FILE --before DIR --after DIR [--without DIR]\n", stderr);
        return 2;
    }
    if (!report(stdout, values[3], values, values[2] ? 3 : 2)) return 0;
    fprintf(stderr, "score: %s\n", err_text());
    return 1;
}
