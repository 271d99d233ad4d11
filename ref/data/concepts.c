#include "data/concepts.h"
#include "base/err.h"
#include "base/progress.h"
#include "io/file.h"
#include "io/image.h"
#include "text/caption.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_REPEATS = 1000000, MAX_SAMPLES = 1 << 30 };

/* ---- names ---- */

/* What other trainers take and we do not is a picture too: image_size refuses it by its name. */
static int is_picture(const char *name)
{
    static const char *const endings[] = { ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(path_extension(name), endings[i])) return name[0] != '.';
    return 0;
}

/* "10_face": repeats 10, name "face". 0 when the folder is not called so. */
static int concept_name(int *repeats, const char **name, const char *folder)
{
    long n = 0;
    while (isdigit((unsigned char)*folder) && n <= MAX_REPEATS) n = n * 10 + (*folder++ - '0');
    if (n < 1 || n > MAX_REPEATS || folder[0] != '_' || !folder[1]) return 0;
    *repeats = (int)n, *name = folder + 1;
    return 1;
}

/* A copy of text; NULL and err(). */
static char *keep(const char *text)
{
    char *copy = strdup(text);
    if (!copy) err("no memory for \"%s\"", text);
    return copy;
}

/* *list grown to hold one element more; -1 and err(). */
static int grow(void *list, int count, size_t size)
{
    void *old, *new;
    memcpy(&old, list, sizeof old);
    new = realloc(old, ((size_t)count + 1) * size);
    if (!new) return err("no memory for a list of %d", count + 1);
    memcpy(list, &new, sizeof new);
    return 0;
}

/* ---- reading ---- */

/* The caption file of `picture` with the first ending that is there, into text; *lines is 0 when there is none. 0, or -1 and err(). */
static int find_caption(char text[CAPTION_SIZE], int *lines, const char *picture, const char *endings)
{
    int stem = (int)(strlen(picture) - strlen(path_extension(picture)));
    *lines = 0;
    while (*(endings += strspn(endings, "., "))) {
        int  length = (int)strcspn(endings, ", ");
        char path[PATH_SIZE];
        if (snprintf(path, sizeof path, "%.*s.%.*s", stem, picture, length, endings) >= (int)sizeof path) return err("%s: the path is too long", picture);
        if (is_file(path)) return caption_read(text, lines, path) == CAPTION_OK ? 0 : -1;
        endings += length;
    }
    return 0;
}

static int add_picture(Concepts *c, const char *folder, const char *file, const char *endings, Problems *problems)
{
    Concept *concept = c->concept + c->concepts - 1;
    Picture  p = { .concept = c->concepts - 1 };
    char     path[PATH_SIZE], caption[CAPTION_SIZE];
    int      wrong = 0;
    if (path_join(path, folder, file)) return -1;
    if (image_size(&p.w, &p.h, path) && (wrong = 1, problems_take(problems))) return -1;
    if (find_caption(caption, &p.lines, path, endings) && (wrong = 1, problems_take(problems))) return -1;
    if (wrong) return 0;

    if (grow(&c->picture, c->pictures, sizeof *c->picture)) return -1;
    p.path = keep(path), p.caption = keep(p.lines ? caption : concept->name);
    c->picture[c->pictures++] = p;
    concept->count++, concept->captions += p.lines > 0;
    return p.path && p.caption ? 0 : -1;
}

static int add_concept(Concepts *c, const char *path, const char *folder, int repeats, const char *name, const char *endings, Problems *problems)
{
    if (grow(&c->concept, c->concepts, sizeof *c->concept)) return -1;
    Concept *concept = c->concept + c->concepts++;
    *concept = (Concept){ .folder = keep(folder), .name = keep(name), .repeats = repeats, .first = c->pictures };
    if (!concept->folder || !concept->name) return -1;

    Names files;
    if (dir_list(&files, path)) return problems_take(problems);
    int status = 0, pictures = 0;
    for (int i = 0; i < files.count && !status; i++) {
        if (!is_picture(files.name[i])) continue;
        status = add_picture(c, path, files.name[i], endings, problems);
        pictures++;
    }
    names_free(&files);
    if (!status && !pictures) err("%s: no pictures (PNG, JPEG, BMP, WebP) in this folder", path), status = problems_take(problems);
    return status;
}

static int add_ignored(Concepts *c, const char *folder)
{
    if (grow(&c->ignored, c->ignores, sizeof *c->ignored)) return -1;
    c->ignored[c->ignores] = keep(folder);
    return c->ignored[c->ignores++] ? 0 : -1;
}

static int add_entry(Concepts *c, const char *entry, const char *endings, Problems *problems)
{
    char        path[PATH_SIZE];
    const char *name;
    int         repeats;
    if (entry[0] == '.') return 0;
    if (path_join(path, c->folder, entry)) return -1;
    if (!is_dir(path)) return c->strays += is_picture(entry), 0;
    if (concept_name(&repeats, &name, entry)) return add_concept(c, path, entry, repeats, name, endings, problems);
    return add_ignored(c, entry);
}

/* What is wrong with a folder without concepts, and what to do about it. */
static int no_concepts(const Concepts *c)
{
    const char *name;
    int         repeats;
    if (c->strays && concept_name(&repeats, &name, path_name(c->folder)))
        return err("%s: this folder is a concept itself; give the folder that it lies in", c->folder);
    return err("%s: no subfolder named N_name; put the pictures into one, as %s/10_face: 10 repeats an epoch, and the caption \"face\" where there is none",
               c->folder, c->folder);
}

int concepts_open(Concepts *concepts, const char *folder, const char *endings, Problems *problems)
{
    Names entries;
    *concepts = (Concepts){ .folder = keep(folder) };
    if (!concepts->folder) return -1;
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) concepts->folder[--n] = 0;
    int status = is_dir(folder) ? dir_list(&entries, folder) : err("%s: no such folder", folder);
    if (!status) {
        for (int i = 0; i < entries.count && !status; i++) status = add_entry(concepts, entries.name[i], endings ? endings : "txt,caption", problems);
        names_free(&entries);
    }
    if (!status && !concepts->concepts) status = no_concepts(concepts);
    if (!status && concepts_samples(concepts) < 0) status = -1;
    if (status) concepts_close(concepts);
    return status;
}

/* One concept of `count` pictures. */
static int count_concept(Concepts *c, int count, int repeats, int w, int h)
{
    char folder[32];
    snprintf(folder, sizeof folder, "%d_%d", repeats, c->concepts + 1);
    if (grow(&c->concept, c->concepts, sizeof *c->concept)) return -1;
    Concept *concept = &c->concept[c->concepts++];
    *concept = (Concept){ keep(folder), keep(folder), repeats, c->pictures, count, 0 };
    if (!concept->folder || !concept->name) return -1;
    Picture *more = realloc(c->picture, (size_t)(c->pictures + count) * sizeof *more);
    if (!more) return err("no memory for a list of %d", c->pictures + count);
    c->picture = more;
    for (int i = 0; i < count; i++) {
        Picture *p = &c->picture[c->pictures++];
        *p = (Picture){ keep(""), keep(""), c->concepts - 1, 0, w, h };
        if (!p->path || !p->caption) return -1;
    }
    return 0;
}

int concepts_count(Concepts *concepts, const char *counts, int w, int h)
{
    enum { MOST = 10000000 };
    int status = 0;
    *concepts = (Concepts){ .folder = keep(counts) };
    if (!concepts->folder) return -1;
    for (const char *at = counts; !status; at++) {
        char *end;
        long  count = isdigit((unsigned char)*at) ? strtol(at, &end, 10) : 0, repeats = 0;
        if (count > 0 && *end == 'x' && isdigit((unsigned char)end[1])) repeats = strtol(end + 1, &end, 10);
        if (count < 1 || count > MOST - concepts->pictures || repeats < 1 || repeats > MAX_REPEATS || (*end && *end != ','))
            status = err("%s: pictures x repeats of each concept were expected, as in 96x10,259x10", counts);
        else status = count_concept(concepts, (int)count, (int)repeats, w, h);
        if (status || !*end) break;
        at = end;
    }
    if (!status && concepts_samples(concepts) < 0) status = -1;
    if (status) concepts_close(concepts);
    return status;
}

void concepts_close(Concepts *concepts)
{
    for (int i = 0; i < concepts->concepts; i++) free(concepts->concept[i].folder), free(concepts->concept[i].name);
    for (int i = 0; i < concepts->pictures; i++) free(concepts->picture[i].path), free(concepts->picture[i].caption);
    for (int i = 0; i < concepts->ignores; i++) free(concepts->ignored[i]);
    free(concepts->concept), free(concepts->picture), free(concepts->ignored), free(concepts->folder);
    *concepts = (Concepts){ 0 };
}

/* ---- checking ---- */

void concepts_drop(Concepts *concepts, int picture)
{
    Picture *p = concepts->picture + picture;
    Concept *concept = concepts->concept + p->concept;
    concept->count--, concept->captions -= p->lines > 0;
    for (int i = p->concept + 1; i < concepts->concepts; i++) concepts->concept[i].first--;
    free(p->path), free(p->caption);
    memmove(p, p + 1, (size_t)(--concepts->pictures - picture) * sizeof *p);
}

/* text[i] = what is wrong with picture i, or NULL. */
static int read_all(char **text, const Concepts *c, int quiet)
{
    Progress progress = progress_open("check", "picture", 0, c->pictures);
    int      done = 0, failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < c->pictures; i++) {
        Image image;
        int   bad = image_load(&image, c->picture[i].path, IMAGE_WHITE) && !(text[i] = strdup(err_text()));
        image_free(&image);
#pragma omp critical(concepts_read_all)
        {
            failed |= bad, done++;
            if (!quiet) progress_update(&progress, done, "%s", "");
        }
    }
    if (!quiet) progress_close(&progress);
    return failed ? err("no memory for a list of problems") : 0;
}

int concepts_check(Concepts *concepts, Problems *problems, int quiet)
{
    int    count = concepts->pictures, left = 0;
    char **text = calloc((size_t)count + 1, sizeof *text);
    if (!text) return err("no memory for a list of %d pictures", count);
    int status = read_all(text, concepts, quiet);
    for (int i = 0; i < count; i++) {
        if (text[i] && !status) err("%s", text[i]), status = problems_take(problems);
        if (text[i] && !status) concepts_drop(concepts, left);
        else left++;
        free(text[i]);
    }
    free(text);
    return status;
}

/* ---- summary ---- */

int concepts_samples(const Concepts *concepts)
{
    double samples = 0;
    for (int i = 0; i < concepts->concepts; i++) samples += (double)concepts->concept[i].repeats * concepts->concept[i].count;
    if (samples > MAX_SAMPLES) return err("%s: %.0f samples in an epoch; use fewer repeats", concepts->folder, samples);
    return (int)samples;
}

void concepts_print(const Concepts *concepts, FILE *out)
{
    const Picture *longer = NULL;
    int            width = 7, several = 0;
    for (int i = 0; i < concepts->concepts; i++)
        if ((int)strlen(concepts->concept[i].folder) > width) width = (int)strlen(concepts->concept[i].folder);
    for (int i = concepts->pictures; i--;)
        if (concepts->picture[i].lines > 1) longer = concepts->picture + i, several++;
    fprintf(out, "%-*s  %8s  %8s  %8s  %8s  %8s\n", width, "concept", "pictures", "repeats", "samples", "captions", "missing");
    for (int i = 0; i < concepts->concepts; i++) {
        const Concept *c = concepts->concept + i;
        fprintf(out, "%-*s  %8d  %8d  %8.0f  %8d  %8d", width, c->folder, c->count, c->repeats, (double)c->repeats * c->count, c->captions,
                c->count - c->captions);
        if (c->captions < c->count) fprintf(out, "  (caption \"%s\")", c->name);
        fputc('\n', out);
    }
    int samples = concepts_samples(concepts);
    fprintf(out, "%d picture%s, %d sample%s in an epoch\n", concepts->pictures, concepts->pictures == 1 ? "" : "s", samples, samples == 1 ? "" : "s");
    if (several) fprintf(out, "captions of more than one line, of which the first is used: %d, as that of %s\n", several, longer->path);
    for (int i = 0; i < concepts->ignores; i++) fprintf(out, "ignored: %s (not N_name)\n", concepts->ignored[i]);
    if (concepts->strays) fprintf(out, "ignored: pictures outside of the subfolders: %d\n", concepts->strays);
}
