/* tokenizer.h - CLIP's byte-level BPE (Sennrich et al. 2016; Radford et al. 2021): text to token ids, equal to transformers' CLIPTokenizer.
 *
 * Text: NFC, every run of white space a blank, lower case a code point at a time; special texts are cut out before that. Pieces: a contraction ('s 't 're 've
 * 'm 'll 'd), a run of letters, one digit, or a run of anything else that is not a blank. A piece's UTF-8 bytes are its first symbols, the last of them marked
 * as a word's end; then the pair of neighbours that stands first in merges.txt is joined wherever it occurs, until none is left. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H
#include <stdint.h>

typedef struct {
    int bos, eos, pad, unk;                             /* ids of the special texts */
    int length;                                         /* model_max_length, BOS and EOS included: 77 */
    int vocab;                                          /* number of ids */
    struct TokenizerTables *tables;
} Tokenizer;

/* From DIR/vocab.json, DIR/merges.txt and, where they exist, DIR/tokenizer_config.json and DIR/special_tokens_map.json. 0, or -1 and err(). */
int  tokenizer_open(Tokenizer *tok, const char *dir);
void tokenizer_close(Tokenizer *tok);

/* The ids of the text, without BOS and EOS. Returns how many there are; only the first max are stored. Ill-formed UTF-8 reads as U+FFFD.
 * -1 and err(): no memory. */
int tokenizer_encode(const Tokenizer *tok, const char *text, int32_t *ids, int max);

/* ids[0..tok->length) = BOS, as many tokens as fit, EOS, padding. Returns how many tokens were cut off: 0 when all fit. -1 and err(): no memory. */
int tokenizer_pad(const Tokenizer *tok, const char *text, int32_t *ids);

/* The same in chunks, each of tok->length ids with BOS, EOS and padding of its own: a text goes on in the next where one is full, as kohya's scripts cut it. */
int tokenizer_pad_chunks(const Tokenizer *tok, const char *text, int32_t *ids, int chunks);

/* From now on the word stands for the ids [id, id + count), in any case and wherever it is not part of a longer run of letters and digits: "<s1>" also in
 * "a<s1><s2>", "cat" not in "cats". Of words that begin at one place the longest counts. 0; 1: it has a meaning already, which it keeps; -1 and err(). */
int tokenizer_learn(Tokenizer *tok, const char *word, int id, int count);

/* The same, found as the web UI finds an embedding: wherever the ids of the text have those of the word in a row; where several do, the longest. So the blanks
 * of "bad-hands - 5" do not matter, and "bad-hands-5" also begins "bad-hands-50", of which each digit is a piece. A word that does not begin and end with a
 * letter or a digit, as <cat>, has other ids in "<cat>," than alone: it is found as above, before all others. */
int tokenizer_learn_ids(Tokenizer *tok, const char *word, int id, int count);

/* Of a learned word whose ids begin with this one: how many they are. 1: it begins none. */
int tokenizer_word(const Tokenizer *tok, int32_t id);

/* Unlearns every word that stands for ids from `id` on. */
void tokenizer_forget(Tokenizer *tok, int id);
#endif
