#include "lora/positional.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_BLOCKS = 64, ATTENTION = 4, WITH_FF = 9, WITHOUT = 8 };

static const char *const attention[ATTENTION] = { "to_q", "to_k", "to_v", "to_out.0" }, *const text[ATTENTION] = { "k_proj", "v_proj", "q_proj", "out_proj" };

/* ---- blocks ---- */

/* SD 1.x and 2.x: down 0 to 2, two each; up 1 to 3, three each; mid. */
static int standard_blocks(Name *block)
{
    int n = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) block[n++] = name("down_blocks.%d.attentions.%d.transformer_blocks.0", i, j);
    for (int i = 1; i < 4; i++)
        for (int j = 0; j < 3; j++) block[n++] = name("up_blocks.%d.attentions.%d.transformer_blocks.0", i, j);
    block[n++] = name("mid_block.attentions.0.transformer_blocks.0");
    return n;
}

/* Of a model: its first to_q of a block stands for it. */
static int model_blocks(Name *block, const Weights *unet)
{
    static const char *const part[] = { "down_blocks.", "up_blocks.", "mid_block." };
    int                      n = 0;
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < unet->sites && n < MAX_BLOCKS; i++) {
            const char *path = unet->site[i].layer->part[unet->site[i].part].name, *at = strstr(path, ".attn1.to_q");
            if (at && strncmp(path, part[p], strlen(part[p])) == 0) block[n++] = name("%.*s", (int)(at - path), path);
        }
    return n;
}

/* ---- places ---- */

static Name in_block(const char *block, int at, int per, int ff_first)
{
    int ff = per == WITHOUT ? -1 : ff_first ? ATTENTION : 2 * ATTENTION;
    if (at == ff) return name("%s.ff.net.0.proj", block);
    if (per == WITH_FF && ff_first && at > ff) at--;
    return name("%s.attn%d.%s", block, 1 + at / ATTENTION, attention[at % ATTENTION]);
}

static Name in_layer(int place) { return name("text_model.encoder.layers.%d.self_attn.%s", place / ATTENTION, text[place % ATTENTION]); }

Name lora_place_path(int is_unet, int i, int per)
{
    Name block[MAX_BLOCKS];
    if (!is_unet) return in_layer(i);
    return i / per < standard_blocks(block) ? in_block(block[i / per].s, i % per, per, 1) : name("%s", "");
}

/* GEGLU's projection is the one that has eight times as many outputs as inputs: 1, where it is at this place of every block; 0, where it is at none. */
static int has_ff_at(const LoraFileModule *m, int blocks, int at)
{
    int n = 0;
    for (int b = 0; b < blocks; b++) n += m[b * WITH_FF + at].o == 8 * m[b * WITH_FF + at].columns;
    return n == blocks ? 1 : n ? -1 : 0;
}

static int place_unet(LoraFile *f, LoraFileModule *m, int n, const Weights *unet)
{
    Name block[MAX_BLOCKS];
    int  blocks = unet ? model_blocks(block, unet) : standard_blocks(block), per = blocks && n % blocks == 0 ? n / blocks : 0, ff_first = 0;
    if (per != WITH_FF && per != WITHOUT)
        return err("%s: %d modules of the U-Net have numbers: expected %d or %d, those of %d transformer blocks", f->path, n, WITH_FF * blocks,
                   WITHOUT * blocks, blocks);
    if (per == WITH_FF) {
        ff_first = has_ff_at(m, blocks, ATTENTION) == 1;
        if (!ff_first && has_ff_at(m, blocks, 2 * ATTENTION) != 1) return err("%s: no order of the U-Net's modules fits the shapes in this file", f->path);
    }
    for (int i = 0; i < n; i++) m[i].path = in_block(block[i / per].s, i % per, per, ff_first);
    return 0;
}

int lora_place(LoraFile *f, const Weights *unet)
{
    int half[2] = { 0, 0 };
    if (f->layout != LORA_CLONEOFSIMO) return 0;
    for (int i = 0; i < f->modules; i++) {
        LoraFileModule *m = &f->module[i];
        if (m->place != half[m->is_unet]++)
            return err("%s: %s: module %d of this half is missing", f->path, m->key, half[m->is_unet] - 1);
        if (!m->is_unet) m->path = in_layer(m->place);
    }
    return half[1] ? place_unet(f, f->module + half[0], half[1], unet) : 0;
}
