/* concepts.h - a folder of training pictures, in kohya's layout, with their captions.
 *
 *   DIR/10_face/a.png, a.txt    DIR/5_body/b.jpg
 *
 * Each subfolder N_name is a concept: its pictures count N times an epoch; `name` is the caption of a picture without a caption file. The caption is the
 * first line of the file beside the picture with the first of the given endings that is there. Concepts and pictures are sorted bytewise; pictures are PNG,
 * JPEG and BMP by their endings, and names that begin with a dot are no pictures. Everything is read once; the lists own their texts. */
#ifndef DATA_CONCEPTS_H
#define DATA_CONCEPTS_H
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
    int   w, h;                                         /* pixels, as stored */
} Picture;

typedef struct {
    char    *folder;
    Concept *concept;
    Picture *picture;
    char   **ignored;                                   /* subfolders that are not N_name */
    int      concepts, pictures, ignores;
    int      strays;                                    /* pictures outside of the subfolders, not used */
} Concepts;

/* endings: caption files' endings in order of preference, as "txt,caption" (with or without dots). NULL: that. 0, or -1 and err(): one line that names
 * the folder or file, what is wrong and how to put it right; nothing is left to close. */
int  concepts_open(Concepts *concepts, const char *folder, const char *endings);
void concepts_close(Concepts *concepts);

/* Sum of repeats times pictures: samples in an epoch. */
int  concepts_samples(const Concepts *concepts);

/* A line a concept: pictures, repeats, captions found and missing; then what was ignored and the total. */
void concepts_print(const Concepts *concepts, FILE *out);
#endif
