/* CLIP's tokenizer against transformers' (golden/tokenizer.py), and what happens to broken folders. */
#include "base/err.h"
#include "io/safetensors.h"
#include "text/tokenizer.h"
#include "tmp.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MAX_IDS = 4096 };

static cJSON *golden(void)
{
    char *text = file_read("golden/tokenizer.json", 1 << 20, NULL);
    assert_non_null(text);
    cJSON *root = cJSON_Parse(text);
    free(text);
    assert_true(cJSON_IsArray(root));
    return root;
}

/* A golden group's tokenizer: its folder, or a folder of links to it with another config. */
static void open_group(Tokenizer *tok, const cJSON *group)
{
    char from[PATH_SIZE];
    const char *dir = cJSON_GetObjectItem(group, "dir")->valuestring, *config = cJSON_GetStringValue(cJSON_GetObjectItem(group, "config"));
    if (config) {
        static const char *const files[] = { "vocab.json", "merges.txt" };
        for (int i = 0; i < 2; i++) {
            size_t size;
            assert_int_equal(path_join(from, dir, files[i]), 0);
            char *data = file_read(from, 1 << 20, &size);
            assert_non_null(data);
            assert_int_equal(file_write(tmp_path(files[i]), data, size), 0);
            free(data);
        }
        assert_int_equal(file_write(tmp_path("tokenizer_config.json"), config, strlen(config)), 0);
        dir = tmp_dir;
    }
    if (tokenizer_open(tok, dir) < 0) fail_msg("%s", err_text());
}

static int check_ids(const char *text, const int32_t *got, int count, const cJSON *want)
{
    int bad = count != cJSON_GetArraySize(want), i = 0;
    const cJSON *id;
    cJSON_ArrayForEach(id, want) {
        if (!bad && got[i++] != id->valueint) bad = 1;
    }
    if (bad) {
        char *list = cJSON_PrintUnformatted(want);
        print_error("\"%s\": wanted %s, got", text, list);
        for (i = 0; i < count && i < MAX_IDS; i++) print_error(" %d", got[i]);
        print_error("\n");
        cJSON_free(list);
    }
    return bad;
}

static void test_texts(void **state)
{
    cJSON *root = golden();
    const cJSON *group, *item;
    int tried = 0, wrong = 0;
    static int32_t ids[MAX_IDS];
    (void)state;
    cJSON_ArrayForEach(group, root) {
        Tokenizer tok;
        open_group(&tok, group);
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(group, "cases")) {
            const char *text = cJSON_GetArrayItem(item, 0)->valuestring;
            int count = tokenizer_encode(&tok, text, ids, MAX_IDS);
            wrong += check_ids(text, ids, count, cJSON_GetArrayItem(item, 1));
            tried++;
        }
        tokenizer_close(&tok);
    }
    cJSON_Delete(root);
    assert_true(tried >= 400);
    assert_int_equal(wrong, 0);
}

static void test_broken_utf8(void **state)
{
    cJSON *root = golden();
    const cJSON *group, *item;
    int tried = 0, wrong = 0;
    (void)state;
    cJSON_ArrayForEach(group, root) {
        Tokenizer tok;
        open_group(&tok, group);
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(group, "bytes")) {
            const char *hex = cJSON_GetArrayItem(item, 0)->valuestring;
            char text[32] = "";
            int32_t ids[64];
            unsigned byte;
            for (int i = 0; sscanf(hex + 2 * i, "%2x", &byte) == 1; i++) text[i] = (char)byte;
            wrong += check_ids(hex, ids, tokenizer_encode(&tok, text, ids, 64), cJSON_GetArrayItem(item, 1));
            tried++;
        }
        tokenizer_close(&tok);
    }
    cJSON_Delete(root);
    assert_true(tried >= 40);
    assert_int_equal(wrong, 0);
}

static void test_padded(void **state)
{
    cJSON *root = golden();
    const cJSON *group, *item;
    int tried = 0, wrong = 0, cut_some = 0;
    (void)state;
    cJSON_ArrayForEach(group, root) {
        Tokenizer tok;
        open_group(&tok, group);
        assert_int_equal(tok.length, 77);
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(group, "padded")) {
            int32_t ids[78] = { [77] = -7 };
            int cut = tokenizer_pad(&tok, cJSON_GetArrayItem(item, 0)->valuestring, ids);
            wrong += check_ids(cJSON_GetArrayItem(item, 0)->valuestring, ids, 77, cJSON_GetArrayItem(item, 1));
            assert_int_equal(cut, cJSON_GetArrayItem(item, 2)->valueint);
            assert_int_equal(ids[77], -7);
            tried++, cut_some += cut > 0;
        }
        tokenizer_close(&tok);
    }
    cJSON_Delete(root);
    assert_true(tried > 0 && cut_some > 0);
    assert_int_equal(wrong, 0);
}

/* Against kohya's way with transformers' ids (golden/captions.py): captions that end within a chunk, at its end, behind the last. */
static void test_chunks(void **state)
{
    static const int words[] = { 0, 1, 74, 75, 76, 150, 151, 400 };
    enum { CAPTIONS = sizeof words / sizeof *words, MOST = 3 };
    static const char *const word[] = { "the ", "cat ", "dog " };
    Tokenizer    tok;
    Safetensors *file = safetensors_open("golden/captions.safetensors");
    (void)state;
    assert_non_null(file);
    assert_int_equal(tokenizer_open(&tok, "golden/parity/a/model/tokenizer"), 0);
    for (int pass = 0; pass < 2; pass++, tok.pad = 0)
        for (int k = 1; k <= MOST; k++) {
            char    key[32], text[400 * 4 + 1];
            int32_t want[CAPTIONS * MOST * 77], ids[MOST * 77 + 1] = { 0 };
            snprintf(key, sizeof key, "ids.%d.%d", tok.pad, k);
            const SafetensorsEntry *e = safetensors_find(file, key);
            assert_true(e && e->count == (size_t)(CAPTIONS * k * 77));
            assert_int_equal(safetensors_read(file, e, T_I32, want), 0);
            for (int i = 0; i < CAPTIONS; i++) {
                *text = 0;
                for (int w = 0; w < words[i]; w++) strcat(text, word[w % 3]);
                ids[k * 77] = -7;
                assert_int_equal(tokenizer_pad_chunks(&tok, text, ids, k), words[i] > 75 * k ? words[i] - 75 * k : 0);
                assert_memory_equal(ids, want + i * k * 77, (size_t)(k * 77) * sizeof *ids);
                assert_int_equal(ids[k * 77], -7);
            }
        }
    tokenizer_close(&tok);
    safetensors_close(file);
}

/* Only the first max are stored, the count is of all. */
static void test_count(void **state)
{
    Tokenizer tok;
    int32_t   few[3] = { -1, -1, -1 }, all[8];
    (void)state;
    assert_int_equal(tokenizer_open(&tok, "golden/bpe"), 0);
    assert_int_equal(tokenizer_encode(&tok, "1 2 3 4", all, 8), 4);
    assert_int_equal(tokenizer_encode(&tok, "1 2 3 4", few, 2), 4);
    assert_true(few[0] == all[0] && few[1] == all[1] && few[2] == -1);
    assert_true(tok.vocab > 512 && tok.bos == tok.vocab - 2 && tok.eos == tok.vocab - 1 && tok.pad == tok.eos);
    tokenizer_close(&tok);
}

static void put_file(const char *name, const char *text)
{
    assert_int_equal(file_write(tmp_path(name), text, strlen(text)), 0);
}

static void expect_failure(const char *part)
{
    Tokenizer tok;
    assert_int_equal(tokenizer_open(&tok, tmp_dir), -1);
    if (!strstr(err_text(), part) || strchr(err_text(), '\n')) fail_msg("wanted \"%s\" in: %s", part, err_text());
}

static void test_broken_folders(void **state)
{
    (void)state;
    expect_failure("vocab.json: No such file");
    put_file("vocab.json", "{\"a\":0");
    expect_failure("vocab.json:1: this is not JSON");
    put_file("vocab.json", "{\"a\":0,\"b\":\"x\"}");
    expect_failure("vocab.json: b: expected a whole number, found \"x\"");
    put_file("vocab.json", "{\"a\":-1}");
    expect_failure("vocab.json: a: expected an id from 0 to 16777216, found -1");
    put_file("vocab.json", "{\"a\":0,\"b\":16777217}");
    expect_failure("vocab.json: b: expected an id from 0 to 16777216, found 16777217");
    put_file("vocab.json", "{\"a\":0,\"b</w>\":1,\"ab</w>\":2,\"<|startoftext|>\":3}");
    expect_failure("merges.txt: No such file");
    put_file("merges.txt", "#version: 0.2\na b</w>\nb c\n");
    expect_failure("merges.txt:3: expected two symbols");
    put_file("merges.txt", "#version: 0.2\r\na b</w>\r\n");
    expect_failure("vocab.json: the eos_token \"<|endoftext|>\" is not in it");
    put_file("tokenizer_config.json", "{\"pad_token\":{\"normalized\":true}}");
    expect_failure("tokenizer_config.json: pad_token.content: a value is needed");
    put_file("tokenizer_config.json", "{\"bos_token\":\"a\",\"eos_token\":\"a\",\"pad_token\":\"a\",\"unk_token\":\"<|startoftext|>\","
                                      "\"model_max_length\":1e30}");
    Tokenizer tok;
    int32_t   ids[4];
    assert_int_equal(tokenizer_open(&tok, tmp_dir), 0);
    assert_int_equal(tok.length, 77);
    assert_int_equal(tokenizer_encode(&tok, "zab", ids, 4), 3);             /* z is unknown, a a special text, b</w> known */
    assert_true(ids[0] == 3 && ids[1] == 0 && ids[2] == 1);
    tokenizer_close(&tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_broken_utf8, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_padded, tmp_open, tmp_close),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_count),
        cmocka_unit_test_setup_teardown(test_broken_folders, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
