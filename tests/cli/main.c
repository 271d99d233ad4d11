/* cli - the built program, used and misused as people do: exit status, the one line on stderr, and what lies on disk afterwards. */
#include "cli.h"
#include "cli/options.h"
#include "io/file.h"
#include "io/image.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __has_feature
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN 0
#endif

#define SMALL "golden/parity/a/model"                   /* random weights, 16x16, sizes in steps of 4 */
#define TINY "golden/tiny-sd"
#define LORA "golden/parity/a/lora.safetensors"
#define MOCHA "golden/words/kohya.safetensors"
#define S1_S2 "golden/words/cloneofsimo.safetensors"
#define TRAIN "train --quiet --overwrite --model " SMALL " --train_data_dir @/data "
#define PAIRS TRAIN "--enable_bucket --train_batch_size 2 "
#define DEMO "train --quiet --overwrite --model " TINY " --train_data_dir @/demo --train_batch_size 2 --max_train_steps 3 --conv_dim 2 "
#define SAMPLE "sample " SMALL " --steps 2 --seed 1 "
#define SMILE "sample " TINY " --prompt mochi,smile --steps 3 "

/* ---- help ---- */

static int widest(const char *text)
{
    int most = 0, width = 0;
    for (; *text; text++) {
        width = *text == '\n' ? 0 : width + ((*text & 0xc0) != 0x80);
        if (width > most) most = width;
    }
    return most;
}

static void check_help(const char *words, const char *text)
{
    const Said *said = sdlora(words);
    check(said->status == 0 && !*said->err && strstr(said->out, text) && widest(said->out) <= 100, "sdlora %s: says \"%s\" in 100 columns", words, text);
}

static void help(void)
{
    static const struct { const char *words, *text; } cases[] = {
        { "--help", "Usage: sdlora COMMAND" }, { "-h", "Usage: sdlora COMMAND" }, { "help", "Usage: sdlora COMMAND" }, { "version", "sdlora " },
        { "--version", "sdlora " }, { "train --help", "--train_data_dir" }, { "help train", "--train_data_dir" }, { "sample --help", "--cfg_scale" },
        { "help sample", "--cfg_scale" }, { "help train network_alpha", "alpha" }, { "help sample --cfg_scale", "cfg_scale" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) check_help(cases[k].words, cases[k].text);
    int told = 0, wide = 0;
    const Command *const commands[] = { &train_command, &sample_command };
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < commands[n]->count; k++) {
            char words[128];
            if (!commands[n]->options[k].name) continue;
            snprintf(words, sizeof words, "help %s %s", commands[n]->name, commands[n]->options[k].name);
            const Said *said = sdlora(words);
            told += said->status == 0 && !*said->err && *said->out, wide += widest(said->out) > 100;
        }
    check(told > 50 && wide == 0, "help: each of %d options is explained in 100 columns", told);
}

/* ---- misuse ---- */

/* Fails with this status and one line that says so; nothing new lies in @/out. */
static void check_refused(const char *words, int status, const char *text)
{
    const Said *said = sdlora(words);
    int         made = file_count("out");
    check(said->status == status && !*said->out && strncmp(said->err, "sdlora: ", 8) == 0 && lines_of(said->err) == 1 && strstr(said->err, text) && made <= 0,
          "sdlora %s: status %d, \"%s\"", words, status, text);
    if (made >= 0 && made != 0) printf("# %d files in @/out\n", made);
    if (made >= 0) rmdir(at("out"));
}

static void misuse(void)
{
    static const struct { const char *words; int status; const char *text; } cases[] = {
        { "", 2, "a command was expected: train, plan, sample" },
        { "trian", 2, "\"trian\": no such command; there are train" },
        { "help trian", 2, "not \"trian\"" },
        { "devices --set cpu", 2, "--set: no such option; devices has none" },
        { "help devices set", 2, "--set: no such option; devices has none" },
        { "version 2", 2, "takes no options" },
        { "train", 2, "--pretrained_model_name_or_path" },
        { "sample " SMALL, 2, "--prompt" },
        { "train --model x --train_data_dir y --network_dmi 4", 2, "the nearest is --network_dim" },
        { "sample m --prompt x --samplr Euler", 2, "the nearest is --sampler" },
        { TRAIN "--output_dir @/out --learning_rate fast", 2, "--learning_rate: a number from 0 to 10 was expected, not \"fast\"" },
        { TRAIN "--output_dir @/out --max_train_steps 0", 2, "--max_train_steps" },
        { TRAIN "--output_dir @/out --max_train_steps 1e3", 2, "--max_train_steps" },
        { TRAIN "--output_dir @/out --seed 1 --seed 2", 2, "--seed" },
        { TRAIN "--output_dir @/out --output_name a/b", 2, "--output_name" },
        { TRAIN "--output_dir @/out --lr_scheduler cosinus", 2, "cosine" },
        { TRAIN "--output_dir @/out --resolution 18", 1, "multiples of 4, found 18x18" },
        { TRAIN "--output_dir @/out --set fast", 1, "fast" },
        { "train --quiet --model @/nothing --train_data_dir @/data --output_dir @/out", 1, "/nothing: " },
        { "train --quiet --model @/data --train_data_dir @/data --output_dir @/out", 1, "data" },
        { "train --quiet --model @/note.txt --train_data_dir @/data --output_dir @/out", 1, "note.txt: " },
        { "train --quiet --model " SMALL " --train_data_dir @/nothing --output_dir @/out", 1, "/nothing: no such folder" },
        { "train --quiet --model " SMALL " --train_data_dir @/note.txt --output_dir @/out", 1, "note.txt: no such folder" },
        { "train --quiet --model " SMALL " --train_data_dir @/data/1_x --output_dir @/out", 1, "this folder is a concept itself" },
        { "train --quiet --model " SMALL " --train_data_dir @/bare --output_dir @/out", 1, "no pictures" },
        { "train --quiet --model " SMALL " --train_data_dir @/broken --output_dir @/out", 1, "1_x/001.png: " },
        { "train --quiet --model " SMALL " --train_data_dir @/strip --enable_bucket --bucket_no_upscale --output_dir @/out", 1, "000.png: 2x40 leaves a side" },
        { TRAIN "--output_dir @/out --resume @/nothing", 1, "/nothing" },
        { TRAIN "--output_dir @/out --resume @/note.txt", 1, "note.txt: " },
        { TRAIN "--output_dir @/out --network_weights @/note.txt", 1, "note.txt: " },
        { TRAIN "--output_dir @/out --network_weights " MOCHA, 1, "mocha: training can go on from a LoRA only" },
        { TRAIN "--output_dir @/note.txt", 1, "note.txt: " },
        { TRAIN "--output_dir @/note.txt/out", 1, "note.txt" },
        { TRAIN "--output_dir /proc/sdlora", 1, "/proc/sdlora" },
        { SAMPLE "--prompt x --output_dir @/note.txt", 1, "note.txt: " },
        { SAMPLE "--prompt x --output_dir /proc/sdlora", 1, "/proc/sdlora" },
        { SAMPLE "--prompt x --output_dir @/out --width 18", 1, "18x16: width and height must be multiples of 4" },
        { SAMPLE "--prompt x --output_dir @/out --sampler Heun", 2, "DDIM, Euler, Euler a, DPM++ 2M" },
        { SAMPLE "--prompt x --output_dir @/out --lora @/nothing", 1, "/nothing: no such file" },
        { SAMPLE "--prompt x --output_dir @/out --lora @/note.txt", 1, "note.txt: " },
        { SAMPLE "--from_file @/nothing --output_dir @/out", 1, "/nothing: " },
        { "sample @/nothing --prompt x --output_dir @/out", 1, "/nothing: " },
        { "sample @/bare --prompt x --output_dir @/out", 1, "/bare/model_index.json: No such file: this is not a model's folder" },
        { "sample @/page.safetensors --prompt x --output_dir @/out", 1, "page.safetensors: a header of" },
        { "sample @/page.safetensors --prompt x --output_dir @/out", 1, "this is a web page" },
        { SAMPLE "--prompt x --output_dir @/out --lora @/pointer.safetensors", 1, "stands for the file until `git lfs pull`" },
        { "selftest --op cnv", 1, "no op is called cnv" },
        { "selftest --bench --op cnv --set nought", 1, "nought" },
        { "selftest --bench --op fill --case 99", 1, "fill has no call 99" },
        { "selftest --set nought", 1, "nought" },
        { "selftest --cases 0", 2, "--cases" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) check_refused(cases[k].words, cases[k].status, cases[k].text);
}

/* ---- the checks of the ops ---- */

static void self_test(void)
{
    static const struct { const char *words, *text; } cases[] = {
        { "selftest --op attn --cases 6", "ok - attn: 6 cases\n1..1\n" },
        { "selftest --set ref16 --against ref --op norm --cases 3 --seed 9", "ok - norm: 3 cases\n1..1\n" },
        { "selftest --repeat --op conv --cases 5", "ok - conv: 5 cases\n1..1\n" },
        { "selftest --full --op embed", "ok - embed: 1 case\n1..1\n" },
        { "selftest --op linear --case 7", "ok - linear: 1 case\n1..1\n" },
        { "selftest --list", "--full --op conv --case 0" },
        { "selftest --bench --op act --case 3 --threads 1", "ref, 1 thread;" },
        { "selftest --bench --op act --case 3 --threads 1 --against ref64", "ref64 / ref" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const Said *said = sdlora(cases[k].words);
        check(said->status == 0 && !*said->err && strstr(said->out, cases[k].text), "sdlora %s", cases[k].words);
    }
}

/* ---- training ---- */

static int works(const char *words) { return sdlora(words)->status == 0; }

static void threads_and_seeds(void)
{
    static const char *const threads[] = { "1", "2", "5" };
    char words[512], name[64];
    put_demo("demo/2_mochi", 3);
    for (int k = 0; k < 3; k++) {
        setenv("OMP_NUM_THREADS", threads[k], 1);
        snprintf(words, sizeof words, DEMO "--output_dir @/t%s", threads[k]);
        snprintf(name, sizeof name, "t%s/lora.safetensors", threads[k]);
        check(works(words) && same_tensors("t1/lora.safetensors", name), "training on %s threads: the bytes of one thread", threads[k]);
    }
    unsetenv("OMP_NUM_THREADS");
    int good = works(DEMO "--output_dir @/other --seed 43") && is_file(at("other/lora.safetensors"));
    check(good && !same_tensors("t1/lora.safetensors", "other/lora.safetensors"), "another seed: other bytes");
}

/* Six samples an epoch, nine steps. */
static void files_of_a_run(void)
{
    static const char *const want[] = { "try-000001.safetensors", "try-000001-state/state.safetensors", "try-step00000004.safetensors",
                                        "try-step00000004-state/state.safetensors", "try-step00000008.safetensors", "try-step00000008-state/state.safetensors",
                                        "try.safetensors", "try-state/state.safetensors", "log.csv" };
    enum { WANT = sizeof want / sizeof *want };
    const Said *said = sdlora(TRAIN "--output_dir @/a/b --output_name try --max_train_steps 9 --save_every_n_steps 4 --save_every_n_epochs 1 --save_state");
    int         found = 0;
    char        name[128];
    for (int k = 0; k < WANT; k++) snprintf(name, sizeof name, "a/b/%s", want[k]), found += is_file(at(name));
    int silent = !*said->err && !*said->out;
    check(said->status == 0 && silent && found == WANT, "a run leaves its LoRAs, states and log (%d of %d), in silence with --quiet", found, (int)WANT);
    snprintf(name, sizeof name, "a/b/%s", "try-step00000012.safetensors");
    check(!is_file(at(name)) && has_type("a/b/try.safetensors", "F32"), "... no others, of float by default");
    int good = works(TRAIN "--output_dir @/h --max_train_steps 1 --save_precision fp16");
    check(good && has_type("h/lora.safetensors", "F16"), "--save_precision fp16");
    good = works(TRAIN "--output_dir @/h --max_train_steps 1 --save_precision bf16");
    check(good && has_type("h/lora.safetensors", "BF16"), "--save_precision bf16");
    said = sdlora("train --quiet --model " SMALL " --train_data_dir @/data --output_dir @/h --max_train_steps 1");
    check(said->status == 1 && strstr(said->err, "h/lora.safetensors: is there already") && has_type("h/lora.safetensors", "BF16"),
          "a LoRA of that name is not written over unasked");
    said =
        sdlora("train --model " SMALL " --train_data_dir @/data --output_dir @/h2 --max_train_epochs 2 --train_batch_size 4 --gradient_accumulation_steps 2");
    good = strstr(said->err, "6 samples in an epoch") && strstr(said->err, "2 batches of up to 4") && strstr(said->err, "1 steps an epoch; 2 steps");
    check(said->status == 0 && good, "without --quiet the plan is told: batches, steps, epochs");
}

static void cut_in_two(void)
{
    setenv("OMP_NUM_THREADS", "1", 1);
    int good = works(PAIRS "--output_dir @/whole --max_train_epochs 2") && works(PAIRS "--output_dir @/parts --max_train_steps 3 --save_state");
    setenv("OMP_NUM_THREADS", "2", 1);
    good = good && works(PAIRS "--output_dir @/parts --max_train_epochs 2 --resume @/parts/lora-state");
    unsetenv("OMP_NUM_THREADS");
    check(good && same_tensors("whole/lora.safetensors", "parts/lora.safetensors"), "--resume: the bytes of a run that was not stopped");
    check_refused(PAIRS "--output_dir @/out --resume @/parts/lora-state --seed 7", 1, "seed: this is the state of another run");
}

static void rest(double seconds)
{
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&t, NULL);
}

/* Killed while it writes a state every step, a run leaves a state that is whole, from which it goes on. */
static void killed(void)
{
    char words[512];
    int  good = 0, waited = 0;
    for (int k = 0; k < 4; k++) {
        snprintf(words, sizeof words, TRAIN "--output_dir @/kill%d --max_train_steps 1000000 --save_every_n_steps 1 --save_state", k);
        int  process = sdlora_begin(words);
        char first[64];
        snprintf(first, sizeof first, "kill%d/lora-step00000002-state/state.safetensors", k);
        for (waited = 0; waited < 3000 && !is_file(at(first)); waited++) rest(0.01);
        rest(0.007 * k);
        kill(process, SIGKILL);
        good += sdlora_status(process) == SIGNALLED + SIGKILL && is_file(at(first));
    }
    check(good == 4, "four runs killed in their midst");
    for (int k = 0; k < 4; k++) {
        int  step = 2;
        char state[96];
        for (;; step++) {
            snprintf(state, sizeof state, "kill%d/lora-step%08d-state/state.safetensors", k, step + 1);
            if (!is_file(at(state))) break;
        }
        snprintf(words, sizeof words, TRAIN "--output_dir @/on%d --max_train_steps %d --resume @/kill%d/lora-step%08d-state", k, step + 1, k, step);
        check(works(words), "the newest state, of step %d, is whole", step);
    }
}

static void check_full(const char *words, const char *text, const char *target)
{
    if (UNDER_TSAN) return;                             /* its runtime keeps shadow memory in files, which the limit would cut off */
    cli_file_limit = 4096;
    const Said *said = sdlora(words);
    cli_file_limit = 0;
    int told = said->status == 1 && lines_of(said->err) == 1 && strstr(said->err, text);
    check(told && same_bytes(target, "kept"), "a full disk: one line, and %s is what it was", target);
}

static void disk_trouble(void)
{
    put_text("kept", "what was there before\n");
    put_text("full.safetensors", "what was there before\n");
    check_full(TRAIN "--no_report --output_dir @ --output_name full --max_train_steps 1", "full.safetensors", "full.safetensors");
    check(works(TRAIN "--output_dir @/once --max_train_steps 1 --save_state"), "a LoRA and its state");
    put_text("once/lora.safetensors", "what was there before\n");
    check_full(TRAIN "--no_report --output_dir @/once --max_train_steps 2 --resume @/once/lora-state", "lora.safetensors", "once/lora.safetensors");
}

/* ---- planning ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };                                 /* its shadow is most of the memory */
#elif defined(__has_feature)
enum { SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

/* The number behind the first `word` of a text; -1: there is none. */
static double number_behind(const char *text, const char *word)
{
    const char *found = strstr(text, word);
    return found ? strtod(found + strlen(word), NULL) : -1;
}

/* VmHWM, as a run says at its end, is what was planned: of a job that takes more than the program itself. */
static void memory(const char *options)
{
    static const char *const kinds[] = { "\n  weights", "\n  trainable", "\n  activations", "\n  scratch", "\n  gradients", "\n  host" };
    char   words[512];
    double planned = 0;
    snprintf(words, sizeof words, "plan --model golden/tiny-sd --train_data_dir @/demo --resolution 128,192 --train_batch_size 4 %s", options);
    const Said *said = sdlora(words);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) planned += number_behind(said->out, kinds[k]) / (1 << 20);
    if (strstr(said->out, "\n  before")) planned += number_behind(said->out, "\n  before") / (1 << 20);
    char run[600];
    snprintf(run, sizeof run, "train --no_report --overwrite --max_train_steps 1 --output_dir @/planned %s", strstr(words, "--model"));
    double took = number_behind(sdlora(run)->err, "peak memory ");
    check(took > 0 && (SANITIZED || fabs(planned / took - 1) <= 0.1), "planned %.0f MB, took %.0f MB: %s", planned, took, options);
}

static void planning(void)
{
    put_demo("demo", 8);
    memory("");
    memory("--set ref16 --network_train_unet_only");
    memory("--set ref64 --gradient_checkpointing");
}

/* ---- sampling ---- */

static int larger(int a, int b) { return a > b ? a : b; }

/* The largest difference of a byte of picture k of two folders; 256 where they are not alike in size. */
static int difference(const char *a, const char *b, int k)
{
    Image x, y;
    char  path[2][64];
    int   most = 256;
    snprintf(path[0], sizeof path[0], "%s/%05d.png", a, k), snprintf(path[1], sizeof path[1], "%s/%05d.png", b, k);
    if (image_load(&x, at(path[0]), 0xffffff)) return most;
    if (image_load(&y, at(path[1]), 0xffffff) == 0) {
        if (x.w == y.w && x.h == y.h) most = 0;
        for (int j = 0; most < 256 && j < 3 * x.w * x.h; j++) most = larger(most, abs(x.rgb[j] - y.rgb[j]));
        image_free(&y);
    }
    image_free(&x);
    return most;
}

static void pictures(void)
{
    check(works(SMILE "--seed 4 --n_iter 3 --output_dir @/alone") && file_count("alone") == 3, "sample: three pictures, one by one");
    check(works(SMILE "--seed 4 --n_iter 3 --batch_size 3 --output_dir @/three") && file_count("three") == 3, "sample: three together");
    int apart = 0;
    for (int k = 0; k < 3; k++) apart = larger(apart, difference("alone", "three", k));
    check(apart <= 1, "alone and together they are at most a level apart (%d)", apart);
    setenv("OMP_NUM_THREADS", "5", 1);
    int good = works(SMILE "--seed=6 --output-dir=@/five");
    unsetenv("OMP_NUM_THREADS");
    good = good && works(SMILE "--seed 6 --threads 1 --output_dir @/one");
    check(good && same_bytes("five/00000.png", "one/00000.png"), "five threads draw what one does");
    const Said *said = sdlora("sample " SMALL " --prompt x --steps 1 --output_dir @/new");
    check(said->status == 0 && strncmp(said->err, "seed ", 5) == 0, "a seed that was drawn is told");
    good = works(SAMPLE "--prompt x --lora " LORA " --compare --grid @/grid.png --output_dir @/pair") && is_file(at("pair/without/00000.png"));
    check(good && is_file(at("grid.png")) && difference("pair", "pair/without", 0) > 0, "--compare draws before and after, --grid shows them");
}

/* The two files have the same matrices, and other words. */
static void learned_words(void)
{
    int good = works(SAMPLE "--prompt mocha --output_dir @/bare") && works(SAMPLE "--prompt mocha --lora " S1_S2 " --output_dir @/plain");
    good = good && works(SAMPLE "--prompt mocha --lora " MOCHA ":1 --compare --output_dir @/word");
    check(good && strstr(sdlora(SAMPLE "--prompt x --lora " S1_S2 " --output_dir @/said")->err, "words        <s1>, <s2>: " S1_S2 "\n"), "words are told");
    check(difference("word", "plain", 0) > 0 && difference("word", "plain", 0) < 256, "a word that a LoRA file brings means something else with it");
    check(difference("word/without", "bare", 0) == 0, "and nothing new without it");
    good = works(SAMPLE "--prompt cat --lora " S1_S2 " --output_dir @/cat") && works(SAMPLE "--prompt cat --lora " MOCHA " --output_dir @/cat2");
    check(good && difference("cat", "cat2", 0) == 0, "a prompt without such words is drawn as ever");
    good = works(SAMPLE "--prompt MOCHA,<s1> --lora " MOCHA " --lora " S1_S2 " --output_dir @/both");
    check(good && difference("both", "word", 0) > 0, "the words of two files");
    check(works(SAMPLE "--prompt mocha --lora " MOCHA " --lora " MOCHA " --allow_unmatched --output_dir @/twice"), "the first meaning of a word stays");
}

int main(int argc, char **argv)
{
    (void)argc;
    cli_open(argv[0]);
    for (int k = 0; k < 6; k++) put_picture("data/1_x", k, k < 3 ? 16 : 32, k < 3 ? 16 : 8);
    put_picture("broken/1_x", 0, 16, 16), put_picture("broken/1_x", 1, 16, 16), put_picture("strip/1_x", 0, 2, 40), put_picture("bare/1_x", 0, 4, 4);
    put_text("page.safetensors", "<!doctype html>\n"), put_text("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    put_text("note.txt", "a note\n"), put_text("broken/1_x/001.png", "\x89PNG\r\n\x1a\n, and then nothing of the kind\n");
    unlink(at("bare/1_x/000.png"));
    help();
    misuse();
    threads_and_seeds();
    files_of_a_run();
    cut_in_two();
    killed();
    disk_trouble();
    planning();
    self_test();
    pictures();
    learned_words();
    tools();
    return cli_close();
}
