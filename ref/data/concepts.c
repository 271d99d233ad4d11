#include "data/concepts.h"
#include "base/err.h"
#include "io/file.h"
#include "io/image.h"
#include "text/caption.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_REPEATS = 1000000, MAX_SAMPLES = 1 << 30 };

/* ---- names ---- */

/* Is the ending of `name` in the list, in any case? */
static int ends_in(const char *name, const char *const *list)
{
    const char *ending = path_extension(name);
    for (; *list; list++)
        if (!strcasecmp(ending, *list)) return 1;
    return 0;
}

static int is_picture(const char *name)
{
    static const char *const read[] = { ".png", ".jpg", ".jpeg", ".bmp", NULL };
    return name[0] != '.' && ends_in(name, read);
}

/* Pictures that other trainers take: leaving them out would train on less than was asked for. */
static int is_foreign(const char *name)
{
    static const char *const foreign[] = { ".webp", ".avif", ".jxl", NULL };
    return name[0] != '.' && ends_in(name, foreign);
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

/* The caption file of `picture` with the first ending that is there, into text; 1: read, 0: none, -1 and err(): there, but of no use. */
static int find_caption(char text[CAPTION_SIZE], const char *picture, const char *endings)
{
    int stem = (int)(strlen(picture) - strlen(path_extension(picture)));
    while (*(endings += strspn(endings, "., "))) {
        int  length = (int)strcspn(endings, ", ");
        char path[PATH_SIZE];
        if (snprintf(path, sizeof path, "%.*s.%.*s", stem, picture, length, endings) >= (int)sizeof path) return err("%s: the path is too long", picture);
        if (is_file(path)) return caption_read(text, path) == CAPTION_OK ? 1 : -1;
        endings += length;
    }
    return 0;
}

static int add_picture(Concepts *c, const char *folder, const char *file, const char *endings)
{
    Concept *concept = c->concept + c->concepts - 1;
    char     path[PATH_SIZE], caption[CAPTION_SIZE];
    if (path_join(path, folder, file)) return -1;
    int found = find_caption(caption, path, endings);
    if (found < 0 || grow(&c->picture, c->pictures, sizeof *c->picture)) return -1;

    Picture *p = c->picture + c->pictures++;
    *p = (Picture){ .path = keep(path), .caption = keep(found ? caption : concept->name), .concept = c->concepts - 1 };
    concept->count++, concept->captions += found;
    if (!p->path || !p->caption) return -1;
    return image_size(&p->w, &p->h, path);
}

static int add_concept(Concepts *c, const char *path, const char *folder, int repeats, const char *name, const char *endings)
{
    if (grow(&c->concept, c->concepts, sizeof *c->concept)) return -1;
    Concept *concept = c->concept + c->concepts++;
    *concept = (Concept){ .folder = keep(folder), .name = keep(name), .repeats = repeats, .first = c->pictures };
    if (!concept->folder || !concept->name) return -1;

    Names files;
    int   status = dir_list(&files, path);
    if (status) return status;
    for (int i = 0; i < files.count && !status; i++) {
        if (is_foreign(files.name[i])) status = err("%s/%s: not a format read here; convert it to PNG or JPEG", path, files.name[i]);
        else if (is_picture(files.name[i])) status = add_picture(c, path, files.name[i], endings);
    }
    names_free(&files);
    if (!status && !concept->count) status = err("%s: no pictures (PNG, JPEG or BMP) in this folder", path);
    return status;
}

static int add_ignored(Concepts *c, const char *folder)
{
    if (grow(&c->ignored, c->ignores, sizeof *c->ignored)) return -1;
    c->ignored[c->ignores] = keep(folder);
    return c->ignored[c->ignores++] ? 0 : -1;
}

static int add_entry(Concepts *c, const char *entry, const char *endings)
{
    char        path[PATH_SIZE];
    const char *name;
    int         repeats;
    if (path_join(path, c->folder, entry)) return -1;
    if (!is_dir(path)) return c->strays += is_picture(entry), 0;
    if (concept_name(&repeats, &name, entry)) return add_concept(c, path, entry, repeats, name, endings);
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

int concepts_open(Concepts *concepts, const char *folder, const char *endings)
{
    Names entries;
    *concepts = (Concepts){ .folder = keep(folder) };
    if (!concepts->folder) return -1;
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) concepts->folder[--n] = 0;
    int status = is_dir(folder) ? dir_list(&entries, folder) : err("%s: no such folder", folder);
    if (!status) {
        for (int i = 0; i < entries.count && !status; i++) status = add_entry(concepts, entries.name[i], endings ? endings : "txt,caption");
        names_free(&entries);
    }
    if (!status && !concepts->concepts) status = no_concepts(concepts);
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
    int width = 7;
    for (int i = 0; i < concepts->concepts; i++)
        if ((int)strlen(concepts->concept[i].folder) > width) width = (int)strlen(concepts->concept[i].folder);
    fprintf(out, "%-*s  %8s  %8s  %8s  %8s\n", width, "concept", "pictures", "repeats", "captions", "missing");
    for (int i = 0; i < concepts->concepts; i++) {
        const Concept *c = concepts->concept + i;
        fprintf(out, "%-*s  %8d  %8d  %8d  %8d", width, c->folder, c->count, c->repeats, c->captions, c->count - c->captions);
        if (c->captions < c->count) fprintf(out, "  (caption \"%s\")", c->name);
        fputc('\n', out);
    }
    for (int i = 0; i < concepts->ignores; i++) fprintf(out, "ignored: %s (not N_name)\n", concepts->ignored[i]);
    if (concepts->strays) fprintf(out, "ignored: pictures outside of the subfolders: %d\n", concepts->strays);
    fprintf(out, "%d pictures, %d samples in an epoch\n", concepts->pictures, concepts_samples(concepts));
}
