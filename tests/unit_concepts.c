/* Folders of training pictures: what is found, in which order, with which captions, and what is said of folders that are not right. */
#include "base/err.h"
#include "data/concepts.h"
#include "io/file.h"
#include "io/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tmp.h"

static void put_text(const char *name, const char *text)
{
    char path[PATH_SIZE], *slash;
    strcpy(path, tmp_path(name));
    slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(dir_make(path), 0);
    *slash = '/';
    assert_int_equal(file_write(path, text, strlen(text)), 0);
}

static void put_picture(const char *name, int w, int h)
{
    Image image;
    put_text(name, "");
    assert_int_equal(image_new(&image, w, h), 0);
    assert_int_equal(image_save(tmp_path(name), &image, NULL), 0);
    image_free(&image);
}

static void check_picture(const Concepts *c, int i, const char *name, const char *caption, int concept, int w, int h)
{
    assert_string_equal(c->picture[i].path, tmp_path(name));
    assert_string_equal(c->picture[i].caption, caption);
    assert_int_equal(c->picture[i].concept, concept);
    assert_true(c->picture[i].w == w && c->picture[i].h == h);
}

static void finds_everything(void **state)
{
    (void)state;
    Concepts c;
    put_picture("set/5_body/b.PNG", 8, 6);
    put_text("set/5_body/b.caption", "a body, standing\nsecond line\n");
    put_picture("set/5_body/a.jpeg", 9, 5);
    put_text("set/5_body/a.caption", "not this one");
    put_text("set/5_body/a.txt", "\xef\xbb\xbf  a tall body \r\n");
    put_picture("set/5_body/B.bmp", 4, 4);
    put_picture("set/5_body/.hidden.png", 4, 4);
    put_text("set/5_body/notes.md", "no picture");
    put_picture("set/10_my cat_2/x.y.png", 7, 7);
    put_picture("set/cats/x.png", 7, 7);
    put_picture("set/0_off/x.png", 7, 7);
    put_picture("set/.latents/x.png", 7, 7);
    put_picture("set/stray.png", 7, 7);
    assert_int_equal(concepts_open(&c, tmp_path("set/"), NULL, NULL), 0);

    assert_int_equal(c.concepts, 2);
    assert_string_equal(c.concept[0].name, "my cat_2");
    assert_string_equal(c.concept[1].name, "body");
    assert_true(c.concept[0].repeats == 10 && c.concept[0].first == 0 && c.concept[0].count == 1 && c.concept[0].captions == 0);
    assert_true(c.concept[1].repeats == 5 && c.concept[1].first == 1 && c.concept[1].count == 3 && c.concept[1].captions == 2);
    assert_int_equal(c.pictures, 4);
    check_picture(&c, 0, "set/10_my cat_2/x.y.png", "my cat_2", 0, 7, 7);
    check_picture(&c, 1, "set/5_body/B.bmp", "body", 1, 4, 4);
    check_picture(&c, 2, "set/5_body/a.jpeg", "a tall body", 1, 9, 5);
    check_picture(&c, 3, "set/5_body/b.PNG", "a body, standing", 1, 8, 6);
    assert_int_equal(concepts_samples(&c), 10 + 15);
    assert_true(c.ignores == 2 && c.strays == 1);
    assert_string_equal(c.ignored[0], "0_off");
    assert_string_equal(c.ignored[1], "cats");

    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    concepts_print(&c, out);
    fclose(out);
    char want[1024];
    snprintf(want, sizeof want, "concept      pictures   repeats   samples  captions   missing\n"
                                "10_my cat_2         1        10        10         0         1  (caption \"my cat_2\")\n"
                                "5_body              3         5        15         2         1  (caption \"body\")\n"
                                "4 pictures, 25 samples in an epoch\n"
                                "captions of more than one line, of which the first is used: 1, as that of %s\n"
                                "ignored: 0_off (not N_name)\n"
                                "ignored: cats (not N_name)\n"
                                "ignored: pictures outside of the subfolders: 1\n", tmp_path("set/5_body/b.PNG"));
    assert_string_equal(text, want);
    free(text);
    concepts_close(&c);
}

static void endings_are_in_order(void **state)
{
    static const struct { const char *endings, *caption; } cases[] = {
        { NULL, "from txt" }, { ".caption", "from caption" }, { "caption, .txt", "from caption" }, { "tags,txt", "from txt" }, { "tags", "face" },
    };
    (void)state;
    put_picture("faces/1_face/a.png", 4, 4);
    put_text("faces/1_face/a.txt", "from txt");
    put_text("faces/1_face/a.caption", "from caption");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Concepts c;
        assert_int_equal(concepts_open(&c, tmp_path("faces"), cases[i].endings, NULL), 0);
        assert_string_equal(c.picture[0].caption, cases[i].caption);
        concepts_close(&c);
    }
}

static void refuses(const char *folder, const char *first, const char *second)
{
    Concepts c;
    assert_int_equal(concepts_open(&c, tmp_path(folder), NULL, NULL), -1);
    if (!strstr(err_text(), first) || !strstr(err_text(), second)) fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err_text(), first, second);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    refuses("nowhere", "nowhere: ", "no such folder");
    put_picture("flat/a.png", 4, 4);
    refuses("flat", "no subfolder named N_name", "flat/10_face");
    put_picture("in/7_face/a.png", 4, 4);
    refuses("in/7_face", "7_face: this folder is a concept itself", "the folder that it lies in");
    put_text("void/3_face/readme", "");
    refuses("void", "void/3_face", "no pictures");
    put_picture("mute/3_face/a.png", 4, 4);
    put_text("mute/3_face/a.txt", " \n\n");
    refuses("mute", "mute/3_face/a.txt", "");
    put_picture("foreign/3_face/a.png", 4, 4);
    put_text("foreign/3_face/b.gif", "GIF89a");
    refuses("foreign", "foreign/3_face/b.gif", "convert it");
    put_text("broken/3_face/a.png", "not a picture");
    refuses("broken", "broken/3_face/a.png", "");
}

static void says(const Problems *p, int i, const char *first, const char *second)
{
    if (i >= p->count || !strstr(p->text[i], first) || !strstr(p->text[i], second)) fail_msg("problem %d is not of %s: %s", i, first, second);
}

/* With a list all problems are found at once, and what is sound is left: here one picture of six. */
static void says_all_that_is_wrong(void **state)
{
    (void)state;
    Concepts c;
    Problems problems = { 0 };
    put_picture("all/2_cat/a.png", 4, 6);
    put_text("all/2_cat/b.png", "not a picture");
    put_picture("all/2_cat/c.png", 4, 4);
    put_text("all/2_cat/c.txt", "caf\xe9");
    put_text("all/2_cat/d.gif", "GIF89a");
    put_picture("all/2_cat/e.png", 4, 4);
    put_text("all/2_cat/e.txt", "\n");
    put_text("all/3_none/readme", "");
    size_t size;
    char *cut = file_read("golden/image/cut.444.jpg", 1 << 20, &size);
    assert_non_null(cut);
    assert_int_equal(file_write(tmp_path("all/2_cat/0.jpg"), cut, size), 0);
    free(cut);

    assert_int_equal(concepts_open(&c, tmp_path("all"), NULL, &problems), 0);
    assert_int_equal(problems.count, 5);
    says(&problems, 0, "b.png", "not a picture");
    says(&problems, 1, "c.txt", "byte 3");
    says(&problems, 2, "d.gif", "GIF");
    says(&problems, 3, "e.txt", "empty");
    says(&problems, 4, "3_none", "no pictures");
    assert_true(c.pictures == 2 && c.concept[0].count == 2);    /* the cut one has a head */

    assert_int_equal(concepts_check(&c, &problems, 1), 0);
    assert_int_equal(problems.count, 6);
    says(&problems, 5, "0.jpg", "cut short");
    assert_true(c.pictures == 1 && c.concept[0].count == 1 && c.concept[1].first == 1);
    check_picture(&c, 0, "all/2_cat/a.png", "cat", 0, 4, 6);
    problems_close(&problems);
    concepts_close(&c);
}

/* A picture that lies on its side in the file has the size at which it is seen. */
static void turns_pictures(void **state)
{
    (void)state;
    Concepts c;
    size_t size;
    char *file = file_read("golden/image/upright6.png", 1 << 20, &size);    /* 5x3, turned */
    assert_non_null(file);
    put_text("side/1_cat/a.png", "");
    assert_int_equal(file_write(tmp_path("side/1_cat/a.png"), file, size), 0);
    free(file);
    assert_int_equal(concepts_open(&c, tmp_path("side"), NULL, NULL), 0);
    check_picture(&c, 0, "side/1_cat/a.png", "cat", 0, 3, 5);
    concepts_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(finds_everything), cmocka_unit_test(endings_are_in_order), cmocka_unit_test(says_what_is_wrong),
                                        cmocka_unit_test(says_all_that_is_wrong), cmocka_unit_test(turns_pictures) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
