/* concepts.h - a folder of training pictures, in kohya's layout, with their captions.
 *
 *   DIR/10_face/a.png, a.txt    DIR/5_body/b.jpg
 *
 * Each subfolder N_name is a concept: its pictures count N times an epoch; `name` is the caption of a picture without a caption file. The caption is the
 * first line of the file beside the picture with the first of the given endings that is there. Concepts and pictures are sorted bytewise; pictures are known
 * by their endings, those of formats that are not read here too, so that none is left out in silence; names that begin with a dot are passed over.
 * Everything is read once; the lists own their texts. */
#ifndef DATA_CONCEPTS_H
#define DATA_CONCEPTS_H
#include "base/problems.h"
#include <stdio.h>

typedef struct {
    char *folder, *name;                                /* "10_face", "face" */
    int   repeats;
    int   first, count;                                 /* its range of pictures */
    int   captions;                                     /* how many of them have a caption file */
} Concept;

typedef struct {
    char *path, *caption;
    int   concept;
    int   lines;                                        /* of the caption file: the first is the caption; 0: there is no file */
    int   w, h;                                         /* pixels, upright */
} Picture;

typedef struct {
    char    *folder;
    Concept *concept;
    Picture *picture;
    char   **ignored;                                   /* subfolders that are not N_name */
    int      concepts, pictures, ignores;
    int      strays;                                    /* pictures outside of the subfolders, not used */
} Concepts;

/* endings: caption files' endings in order of preference, as "txt,caption" (with or without dots). NULL: that. A picture or concept with a problem is left
 * out. 0, or -1 and err(), a line that names the folder or file, what is wrong and how to put it right: nothing can be trained on, or, where problems is
 * NULL, the first problem; nothing is left to close. */
int  concepts_open(Concepts *concepts, const char *folder, const char *endings, Problems *problems);

/* Concepts without files, for a plan: "96x10,259x10" is two of them, 96 pictures shown 10 times and 259 shown 10 times, all of w x h pixels and without
 * captions. 0, or -1 and err(). */
int  concepts_count(Concepts *concepts, const char *counts, int w, int h);
void concepts_close(Concepts *concepts);

/* Reads every picture to its end, several at once: those that cannot be read are left out. 0, or -1 and err(). */
int  concepts_check(Concepts *concepts, Problems *problems, int quiet);
void concepts_drop(Concepts *concepts, int picture);    /* leaves it out; those after it move up */

/* Sum of repeats times pictures: samples in an epoch. */
int  concepts_samples(const Concepts *concepts);

/* A line a concept: pictures, repeats, samples an epoch, captions found and missing; then the total and what was ignored. */
void concepts_print(const Concepts *concepts, FILE *out);
#endif
