/* unit_manual.c - the man page's form, and what bash offers when TAB is pressed. */
#include "base/err.h"
#include "cli/manual.h"
#include "cli/options.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char *text_of(void (*print)(FILE *))
{
    char  *text;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out);
    fclose(out);
    return text;
}

/* Only known requests, no long lines, no empty ones, and every option in its place. */
static void test_page(void **state)
{
    static const char *const requests[] = { ".TH ", ".SH ", ".SS ", ".TP", ".PP", ".br", ".nf", ".fi", ".B ", ".BR ", ".\\\" " };
    (void)state;
    char       *text = text_of(manual_page);
    const char *at = text;
    for (int n = 0; all_commands[n]; n++)
        for (int k = all_commands[n]->shared; k < all_commands[n]->count; k++) {
            const Option *option = &all_commands[n]->options[k];
            char          head[80];
            snprintf(head, sizeof head, option->group ? ".SS %s\n" : ".TP\n\\fB\\-\\-%s\\fR", option->group ? option->group : option->name);
            const char *found = strstr(at, head);
            if (!found) fail_msg("%s is missing, or not in order", head);
            at = found;
        }
    int plain = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (!strncmp(line, ".nf", 3) || !strncmp(line, ".fi", 3)) plain = line[1] == 'n';
        assert_true(plain || *line);
        if (strlen(line) > 160) fail_msg("too long: %s", line);
        if (*line != '.') continue;
        size_t k = 0, count = sizeof requests / sizeof *requests;
        while (k < count && strncmp(line, requests[k], strlen(requests[k]))) k++;
        if (k == count) fail_msg("no request of man(7): %s", line);
    }
    free(text);
}

/* The words that bash offers, a blank behind each, when the last of `words` is being typed. '|' parts them, as bash's word breaks do. */
static void complete(char *out, size_t size, const char *words)
{
    char   command[1024], list[512] = "";
    size_t used = 0;
    for (const char *c = words; *c || used == 0; c++) {
        const char *end = c + strcspn(c, "|");
        used += (size_t)snprintf(list + used, sizeof list - used, " '%.*s'", (int)(end - c), c);
        if (!*(c = end)) break;
        if (!c[1]) used += (size_t)snprintf(list + used, sizeof list - used, " ''");
    }
    snprintf(command, sizeof command,
             "cd %s && bash -c '. ./sdlora.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _sdlora; printf \"%%s \" \"${COMPREPLY[@]}\"' bash %s",
             tmp_dir, list);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t read = fread(out, 1, size - 1, pipe);
    out[read] = 0;
    assert_int_equal(pclose(pipe), 0);
}

static void test_completion(void **state)
{
    static const struct {
        const char *words, *offers;
    } cases[] = {
        { "sdlora|tr", "train " },
        { "sdlora|train|--network_d", "--network_dim " },
        { "sdlora|train|--lr_scheduler|co", "constant constant_with_warmup cosine cosine_with_restarts " },
        { "sdlora|train|--lr-scheduler|lin", "linear " },
        { "sdlora|train|--lr_scheduler|=|lin", "linear " },
        { "sdlora|train|--lr_scheduler|=", "constant constant_with_warmup linear cosine cosine_with_restarts " },
        { "sdlora|train|--network_args|", "conv_dim= conv_alpha= " },
        { "sdlora|train|--train_data_dir|pic", "pictures " },
        { "sdlora|train|--model|p", "pictures plain.safetensors " },
        { "sdlora|train|--network_dim|", " " },
        { "sdlora|train|--shuffle_caption|--keep_t", "--keep_tokens " },
        { "sdlora|sample|pl", "plain.safetensors " },
        { "sdlora|sample|pl|--sampl", "--sampler_name " },
        { "sdlora|sample|--sampler|Eu", "Euler Euler_a " },
        { "sdlora|sample|--lora|pl", "plain.safetensors " },
        { "sdlora|help|sa", "sample " },
        { "sdlora|help|sample|cfg", "cfg_scale " },
        { "sdlora|version|", " " },
    };
    char got[4096];
    (void)state;
    char *text = text_of(manual_completion);
    assert_int_equal(file_write(tmp_path("sdlora.bash"), text, strlen(text)), 0);
    assert_int_equal(file_write(tmp_path("plain.safetensors"), "", 0), 0);
    assert_int_equal(dir_make(tmp_path("pictures")), 0);
    free(text);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        complete(got, sizeof got, cases[k].words);
        if (strcmp(got, cases[k].offers)) fail_msg("%s: \"%s\" was expected, not \"%s\"", cases[k].words, cases[k].offers, got);
    }
    complete(got, sizeof got, "sdlora|train|");
    for (int k = 0; k < train_command.count; k++) {
        char name[80];
        if (!train_command.options[k].name) continue;
        snprintf(name, sizeof name, "--%s ", train_command.options[k].name);
        if (!strstr(got, name)) fail_msg("%s is not offered", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test_setup_teardown(test_completion, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
