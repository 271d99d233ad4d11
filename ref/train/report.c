#include "train/report.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "data/resample.h"
#include "io/file.h"
#include "io/png_text.h"
#include "io/utf8.h"
#include "train/log.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { THUMBS = 60, THUMB_SIDE = 96 };                  /* pictures shown, their longest side */
enum { SHOTS = 24, SHOT_SIDE = 256 };                   /* most epochs shown in samples, and their longest side */
enum { POINTS = 500 };                                  /* of a curve */
enum { EVERY = 30, SHARE = 50 };                        /* seconds between pages, at least; the page takes at most 1/SHARE of the time */

/* The page, a line a string, made of report_page.html by the Makefile. The line that is @DATA@ gives way to the run. */
static const char *const page[] = {
#include "report_page.inc"
};

/* A sample in sample/: NAME_e000002_00_SEED.png. */
typedef struct {
    char *file, *uri, *text;                            /* text: what it was made from */
    int   step, epoch, place;                           /* epoch 0 where it is the mark of a step */
} Shot;

struct Report {
    const Trainer *t;
    time_t         opened;
    double         written, cost;                       /* monotonic seconds: when the page was last written, how long that took */
    double        *weight_norm;                         /* |W| of each site, the text encoder's first; NULL until wanted */
    char          *pictures;                            /* the training pictures as JSON; NULL until wanted */
    Shot          *shot;
    int            shots, room;
};

/* ---- JSON inside a page ---- */

/* A text from wherever: no byte of it ends the string, or the script element that it stands in. */
static void put_text(FILE *f, const char *text)
{
    const char *end = text + strlen(text);
    fputc('"', f);
    while (text < end) {
        char    utf8[4];
        int32_t code = utf8_next(&text, end);
        if (code < 0) code = UTF8_REPLACEMENT;
        if (code < ' ' || strchr("\"\\<>&", code < 128 ? code : ' ')) fprintf(f, "\\u%04x", (unsigned)code);
        else fwrite(utf8, 1, (size_t)utf8_put(utf8, code), f);
    }
    fputc('"', f);
}

static void put_pair(FILE *f, const char *key, const char *text)
{
    fprintf(f, "\"%s\":", key);
    put_text(f, text);
    fputc(',', f);
}

static void put_number(FILE *f, double x)
{
    if (isfinite(x)) fprintf(f, "%.5g", x);
    else fputs("null", f);
}

/* ---- pictures as text ---- */

static char *data_uri(const uint8_t *png, size_t size)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", head[] = "data:image/png;base64,";
    char             *uri = malloc(sizeof head + (size + 2) / 3 * 4), *out;
    if (!uri) return err("out of memory for a picture of the report"), NULL;
    out = stpcpy(uri, head);
    for (size_t i = 0; i < size; i += 3) {
        unsigned a = png[i], b = i + 1 < size ? png[i + 1] : 0, c = i + 2 < size ? png[i + 2] : 0, bits = a << 16 | b << 8 | c;
        *out++ = digit[bits >> 18];
        *out++ = digit[bits >> 12 & 63];
        *out++ = i + 1 < size ? digit[bits >> 6 & 63] : '=';
        *out++ = i + 2 < size ? digit[bits & 63] : '=';
    }
    *out = 0;
    return uri;
}

/* The picture with no side longer than `side`, as a data URI. NULL and err(). */
static char *small_picture(const char *path, int side, int background)
{
    Image    image, small;
    uint8_t *png = NULL;
    size_t   size;
    char    *uri = NULL;
    if (image_load(&image, path, background)) return NULL;
    int longest = image.w > image.h ? image.w : image.h;
    if (longest > side) {
        int w = (int)((int64_t)image.w * side / longest), h = (int)((int64_t)image.h * side / longest);
        w += w == 0, h += h == 0;
        if (image_new(&small, w, h) || resample_area(small.rgb, w, h, image.rgb, image.w, image.h)) image_free(&small);
        else if (image_png(&png, &size, &small) == 0) uri = data_uri(png, size);
        image_free(&small);
    } else if (image_png(&png, &size, &image) == 0) uri = data_uri(png, size);
    image_free(&image);
    free(png);
    return uri;
}

/* ---- the parts of the run ---- */

/* A day as people write it, where they are. */
static void put_time(FILE *f, const char *key, time_t time)
{
    char      text[32];
    struct tm local;
    strftime(text, sizeof text, "%Y-%m-%d %H:%M", localtime_r(&time, &local));
    put_pair(f, key, text);
}

static void put_facts(FILE *f, const Report *r)
{
    const Trainer     *t = r->t;
    const TrainConfig *c = t->config;
    struct rusage      use = { 0 };
    struct stat        st = { 0 };
    char               file[PATH_SIZE], path[PATH_SIZE];
    getrusage(RUSAGE_SELF, &use);
    snprintf(file, sizeof file, "%s.safetensors", c->output_name);
    int done = t->at.step == t->steps && path_join(path, c->output_dir, file) == 0 && stat(path, &st) == 0;
    put_pair(f, "name", c->output_name);
    put_pair(f, "model", path_name(c->pretrained_model_name_or_path));
    put_pair(f, "prediction", t->pipeline.schedule.prediction == PREDICT_V ? "v" : "noise");
    put_pair(f, "set", t->pipeline.set->name);
    put_pair(f, "file", done ? file : "");
    put_time(f, "opened", r->opened);
    put_time(f, "written", time(NULL));
    fprintf(f, "\"bytes\":%lld,\"step\":%d,\"steps\":%d,\"epoch\":%d,\"epochs\":%d,\"epoch_steps\":%d,\"peak_mb\":%.0f,", (long long)st.st_size, t->at.step,
            t->steps, t->at.epoch, t->epochs, t->epoch_steps, (double)use.ru_maxrss / 1024);
    fprintf(f, "\"width\":%d,\"height\":%d,\"batch\":%d,\"samples_an_epoch\":%d,\"modules_trained\":%d,\"numbers\":%zu,\"timesteps\":%d,\n", t->w, t->h,
            c->train_batch_size * c->gradient_accumulation_steps, concepts_samples(&t->concepts), t->lora.modules, t->lora.params.count,
            t->pipeline.schedule.timesteps);
}

static void put_settings(FILE *f, const TrainConfig *c)
{
    fputs("\"settings\":[", f);
    for (int i = 0; i < c->settings; i++) {
        const Setting *s = &c->setting[i];
        fputs(i ? ",{" : "{", f);
        put_pair(f, "group", s->group);
        put_pair(f, "name", s->name);
        put_pair(f, "value", s->value);
        fprintf(f, "\"given\":%s}", s->given ? "true" : "false");
    }
    fputs("],\n", f);
}

static int put_pictures(FILE *f, const Trainer *t)
{
    const Concepts *c = &t->concepts;
    int             shown = c->pictures < THUMBS ? c->pictures : THUMBS;
    fputs("\"concepts\":[", f);
    for (int i = 0; i < c->concepts; i++) {
        fputs(i ? ",{" : "{", f);
        put_pair(f, "folder", c->concept[i].folder);
        fprintf(f, "\"repeats\":%d,\"count\":%d,\"captions\":%d}", c->concept[i].repeats, c->concept[i].count, c->concept[i].captions);
    }
    fputs("],\n\"buckets\":[", f);
    for (int b = 0; b < t->buckets.count; b++) {
        int count = 0;
        for (int i = 0; i < c->pictures; i++) count += t->fit[i].bucket == b;
        fprintf(f, "%s{\"w\":%d,\"h\":%d,\"count\":%d}", b ? "," : "", t->buckets.size[b].w, t->buckets.size[b].h, count);
    }
    fputs("],\n\"pictures\":[", f);
    for (int k = 0; k < shown; k++) {
        int            i = (int)((int64_t)k * c->pictures / shown);     /* evenly over all folders */
        const Picture *p = &c->picture[i];
        char          *uri = small_picture(p->path, THUMB_SIDE, t->config->alpha_background);
        if (!uri) return -1;
        fputs(k ? ",\n{" : "{", f);
        put_pair(f, "name", path_name(p->path));
        put_pair(f, "caption", p->caption);
        fprintf(f, "\"w\":%d,\"h\":%d,\"concept\":%d,\"bucket\":%d,\"uri\":\"%s\"}", p->w, p->h, p->concept, t->fit[i].bucket, uri);
        free(uri);
    }
    fputs("],\n", f);
    return 0;
}

/* ---- curves ---- */

/* One curve: for each run of `stride` lines the mean of a field, where there is a value. */
static void put_curve(FILE *f, const char *key, const LogLine *line, int lines, int stride, size_t field)
{
    fprintf(f, "\"%s\":[", key);
    for (int i = 0; i < lines; i += stride) {
        double sum = 0;
        int    count = 0;
        for (int k = i; k < i + stride && k < lines; k++) {
            double x = *(const double *)((const char *)&line[k] + field);
            if (isfinite(x)) sum += x, count++;
        }
        if (i) fputc(',', f);
        put_number(f, count ? sum / count : NAN);
    }
    fputs("],", f);
}

static int put_curves(FILE *f, const Trainer *t)
{
    static const struct { const char *key; size_t field; } curves[] = {
        { "loss", offsetof(LogLine, loss) },        { "unet", offsetof(LogLine, lr_unet) },     { "text", offsetof(LogLine, lr_text) },
        { "norm", offsetof(LogLine, norm) },        { "band1", offsetof(LogLine, band[0]) },    { "band2", offsetof(LogLine, band[1]) },
        { "band3", offsetof(LogLine, band[2]) },    { "band4", offsetof(LogLine, band[3]) },
    };
    char     path[PATH_SIZE];
    LogLine *line;
    int      lines;
    double   seconds = 0;
    if (path_join(path, t->config->output_dir, "log.csv") || log_read(&line, &lines, path)) return -1;
    int stride = lines / POINTS + 1;
    fputs("\"curves\":{\"at\":[", f);
    for (int i = 0; i < lines; i += stride) fprintf(f, "%s%d", i ? "," : "", line[i + stride <= lines ? i + stride - 1 : lines - 1].step);
    fputs("],", f);
    for (size_t k = 0; k < sizeof curves / sizeof *curves; k++) put_curve(f, curves[k].key, line, lines, stride, curves[k].field);
    for (int i = 0; i < lines; i++)                     /* a resumed run counts from 0 again */
        if (i + 1 == lines || line[i + 1].seconds < line[i].seconds) seconds += line[i].seconds;
    fprintf(f, "\"stride\":%d},\n\"seconds\":%.1f,\n", stride, seconds);
    free(line);
    return 0;
}

/* ---- how far the modules have moved ---- */

/* g (r,r) = X^T X of X (n,r), the sum of the outer products of its rows. */
static void gram(double *g, const double *x, size_t n, size_t r)
{
#pragma omp parallel for schedule(static) if (n * r * r > 100000)
    for (size_t a = 0; a < r; a++) {
        for (size_t b = 0; b < r; b++) g[a * r + b] = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t b = 0; b < r; b++) g[a * r + b] += x[i * r + a] * x[i * r + b];
    }
}

int report_update_norm(double *norm, const Params *params, const Adapter *a)
{
    size_t  r = (size_t)a->rank, down = tensor_count(a->a.t), up = tensor_count(a->b.t), k = down / r, o = up / r;
    double *value = malloc((2 * down + up + 2 * r * r) * sizeof *value), sum = 0;
    if (!value) return err("out of memory for %zu numbers", 2 * down + up);
    double *at = value + down, *b = at + down, *gram_a = b + up, *gram_b = gram_a + r * r;
    int     status = params_get((Params *)params, a->down, value) || params_get((Params *)params, a->up, b) ? -1 : 0;
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < k; j++) at[j * r + i] = value[i * k + j];
    gram(gram_a, at, k, r);
    gram(gram_b, b, o, r);
    for (size_t i = 0; i < r * r; i++) sum += gram_a[i] * gram_b[i];
    *norm = a->alpha / a->rank * (sum > 0 ? sqrt(sum) : sum);           /* not a number stays so; rounding may leave less than 0 */
    free(value);
    return status;
}

static int weight_norm(double *norm, Set *set, Tensor w)
{
    size_t  row = (size_t)w.h * (size_t)w.w * (size_t)w.c, chunk = (1 << 20) / row + 1;
    double *value = malloc(chunk * row * sizeof *value), sum = 0;
    int     status = value ? 0 : err("out of memory for %zu numbers", chunk * row);
    for (int o = 0; o < w.n && !status; o += (int)chunk) {
        int n = w.n - o < (int)chunk ? w.n - o : (int)chunk;
        status = set->download(set, tensor_of(value, T_F64, n, w.h, w.w, w.c), tensor_images(w, o, n)) || set->sync(set) ? -1 : 0;
        for (size_t i = 0; i < (size_t)n * row && !status; i++) sum += value[i] * value[i];
    }
    *norm = sqrt(sum);
    free(value);
    return status;
}

static const Part *part_of(const Site *site) { return &site->layer->part[site->part]; }

/* The weights do not change: once is enough. */
static int open_weight_norms(Report *r, const Weights *const half[2])
{
    if (r->weight_norm) return 0;
    double *norm = calloc((size_t)(half[0]->sites + half[1]->sites), sizeof *norm);
    if (!norm) return err("out of memory for the report");
    r->weight_norm = norm;
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < half[h]->sites; i++, norm++)
            if (part_of(&half[h]->site[i])->adapter && weight_norm(norm, half[h]->set, part_weight(half[h]->site[i].layer, half[h]->site[i].part))) return -1;
    return 0;
}

static int put_modules(FILE *f, Report *r)
{
    const Checkpoint    *model = &r->t->pipeline.model;
    const Weights *const half[2] = { &model->clip.weights, &model->unet.weights };
    if (open_weight_norms(r, half)) return -1;
    const double *weight = r->weight_norm;
    fputs("\"modules\":[", f);
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < half[h]->sites; i++, weight++) {
            const Part *part = part_of(&half[h]->site[i]);
            double      norm = NAN;
            if (part->adapter && report_update_norm(&norm, &r->t->lora.params, part->adapter)) return -1;
            fputs(h + i ? ",{" : "{", f);
            put_pair(f, "path", part->name);
            fprintf(f, "\"text\":%d,\"rank\":%d,\"norm\":", !h, part->adapter ? part->adapter->rank : 0);
            put_number(f, norm);
            fputs(",\"moved\":", f);
            put_number(f, norm / *weight);
            fputc('}', f);
        }
    fputs("],\n", f);
    return 0;
}

/* ---- samples ---- */

/* The digits at *at, at most nine of them, and where they end; -1: there are none, or more. */
static int read_digits(const char **at)
{
    int n = 0, value = 0;
    for (; **at >= '0' && **at <= '9' && n < 10; n++, ++*at) value = n < 9 ? 10 * value + **at - '0' : -1;
    return n ? value : -1;
}

/* Takes step, epoch and place from a name, NAME_e000002_00_SEED.png or NAME_000100_00_SEED.png. 0: it is none of this run's so far. */
static int read_name(Shot *s, const Trainer *t, const char *file)
{
    size_t name = strlen(t->config->output_name);
    if (strncmp(file, t->config->output_name, name) || file[name] != '_') return 0;
    const char *at = file + name + 1;
    int         by_epoch = *at == 'e';
    at += by_epoch;
    int     time = read_digits(&at);
    int64_t step = by_epoch ? (int64_t)time * t->epoch_steps : time;
    if (time < 0 || step > t->at.step || *at++ != '_' || (s->place = read_digits(&at)) < 0 || *at++ != '_') return 0;
    size_t seed = strspn(at, "0123456789");
    s->step = (int)step, s->epoch = by_epoch ? time : 0;
    return seed > 0 && !strcmp(at + seed, ".png");
}

/* Takes up a file of sample/ that is not yet known. The folder is the user's, too: a foreign name, a picture of an earlier run and one that cannot be read
 * are passed over. -1 and err(): no memory. */
static int add_shot(Report *r, const char *dir, const char *file)
{
    struct stat st;
    Shot        s = { 0 };
    char        path[PATH_SIZE];
    for (int i = 0; i < r->shots; i++)
        if (!strcmp(r->shot[i].file, file)) return 0;
    if (!read_name(&s, r->t, file)) return 0;
    if (path_join(path, dir, file) || stat(path, &st) || (!r->t->config->resume && st.st_mtime < r->opened)) return 0;

    if (r->shots == r->room) {
        int   room = 2 * r->room + 16;
        Shot *more = realloc(r->shot, (size_t)room * sizeof *more);
        if (!more) return err("%s: out of memory", path);
        r->shot = more, r->room = room;
    }
    size_t   size;
    uint8_t *png = file_read(path, (size_t)1 << 30, &size);
    if (png && png_text_find(&s.text, png, size, "parameters") == 0 && (s.uri = small_picture(path, SHOT_SIDE, IMAGE_WHITE)) != NULL) {
        s.file = strdup(file);
        r->shot[r->shots++] = s;
    } else free(s.text);
    free(png);
    return s.uri && !s.file ? err("%s: out of memory", path) : 0;
}

static int by_step(const void *a, const void *b)
{
    const Shot *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int find_shots(Report *r)
{
    char  dir[PATH_SIZE];
    Names names;
    if (path_join(dir, r->t->config->output_dir, "sample")) return -1;
    if (!is_dir(dir)) return 0;
    if (dir_list(&names, dir)) return -1;
    int status = 0;
    for (int i = 0; i < names.count && !status; i++) status = add_shot(r, dir, names.name[i]);
    names_free(&names);
    if (r->shots) qsort(r->shot, (size_t)r->shots, sizeof *r->shot, by_step);
    return status;
}

/* One group a step; of many, SHOTS evenly, the first and the last among them. */
static int put_shots(FILE *f, Report *r)
{
    int groups = 0, shown = 0, g = -1;
    if (find_shots(r)) return -1;
    for (int i = 0; i < r->shots; i++) groups += i == 0 || r->shot[i].step != r->shot[i - 1].step;
    fputs("\"samples\":[", f);
    for (int i = 0; i < r->shots; i++) {
        const Shot *s = &r->shot[i];
        if (i && s->step == s[-1].step) continue;
        g++;
        int wanted = groups <= SHOTS ? g : (int)((int64_t)shown * (groups - 1) / (SHOTS - 1));
        if (g < wanted) continue;
        fprintf(f, "%s{\"step\":%d,\"epoch\":%d,\"pictures\":[", shown++ ? ",\n" : "", s->step, s->epoch);
        for (const Shot *each = s; each < r->shot + r->shots && each->step == s->step; each++) {
            fputs(each > s ? ",{" : "{", f);
            put_pair(f, "text", each->text ? each->text : "");
            fprintf(f, "\"place\":%d,\"uri\":\"%s\"}", each->place, each->uri);
        }
        fputs("]}", f);
    }
    fputs("]\n", f);
    return 0;
}

/* ---- the page ---- */

Report *report_open(const Trainer *t)
{
    Report *r = calloc(1, sizeof *r);
    if (!r) return err("out of memory for the report"), NULL;
    r->t = t;
    r->opened = time(NULL);
    return r;
}

void report_close(Report *r)
{
    if (!r) return;
    for (int i = 0; i < r->shots; i++) free(r->shot[i].file), free(r->shot[i].uri), free(r->shot[i].text);
    free(r->shot);
    free(r->weight_norm);
    free(r->pictures);
    free(r);
}

static int make_pictures(Report *r)
{
    Text text;
    if (r->pictures) return 0;
    FILE *f = text_open(&text);
    int   status = f ? put_pictures(f, r->t) : 0;
    if (!text_close(&text) && !status) status = err("out of memory for the report");
    if (status) free(text.s);
    else r->pictures = text.s;
    return status;
}

static int put_run(FILE *f, Report *r)
{
    if (make_pictures(r)) return -1;
    fputs("{", f);
    put_facts(f, r);
    put_settings(f, r->t->config);
    fputs(r->pictures, f);
    int status = put_curves(f, r->t) || put_modules(f, r) || put_shots(f, r) ? -1 : 0;
    fputs("}\n", f);
    return status;
}

int report_write(Report *r, int always)
{
    char   path[PATH_SIZE];
    Text   text;
    int    status = 0;
    double begun = now();
    if (!always && r->written > 0 && begun - r->written < fmax(EVERY, SHARE * r->cost)) return 0;
    if (path_join(path, r->t->config->output_dir, "report.html")) return -1;
    FILE *f = text_open(&text);
    for (size_t i = 0; i < sizeof page / sizeof *page && f && !status; i++)
        if (strcmp(page[i], "@DATA@\n")) fputs(page[i], f);
        else status = put_run(f, r);
    if (!text_close(&text) && !status) status = err("%s: out of memory", path);
    if (!status) status = file_write(path, text.s, text.length);
    free(text.s);
    r->written = now();
    r->cost = r->written - begun;
    return status;
}
