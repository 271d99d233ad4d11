/* delta.h - what a module of a LoRA file adds to a weight, in double and in the file's order of elements, (o, i, k, k).
 *
 *   LoRA    s B A                                       Hu et al. 2021; LoCon: the same of convolutions, A with the weight's kernel
 *           with a core M: A'[p] = sum over q of M[p,q] A[q], of each place in the kernel (Tucker)
 *   LoHa    s (W1a W1b) o (W2a W2b)                     o: element by element (Hyeon-Woo et al. 2022); with cores t: sum over p, q of t[p,q] Wa[p] Wb[q]
 *   LoKr    s W1 (x) W2                                 (x): Kronecker's product, of channels (Yeh et al. 2024)
 *   DoRA    m (W + D) / |W + D| - W                     D one of the above, m the magnitudes, norms of each output's row or of each input's column
 *                                                       (Liu et al. 2024). It depends on W
 */
#ifndef LORA_DELTA_H
#define LORA_DELTA_H
#include "lora/module.h"

/* A LoRA's matrices, a core already within down: down (rank, columns), up (o, rank), and s apart. To free with lora_factors_free. */
typedef struct {
    int     rank, o, columns;
    double  scale, *down, *up;
} LoraFactors;

int  lora_factors(LoraFactors *out, const LoraFileModule *m, const char *path);         /* 0, or -1 and err() */
void lora_factors_free(LoraFactors *f);

/* delta (o, columns) = what any module adds, s within, DoRA's magnitudes aside. 0, or -1 and err(). */
int lora_delta(double *delta, const LoraFileModule *m, const char *path);

/* w (o, columns) += weight * what the module adds to it, inputs i = columns / kk; with its magnitudes, if it has any. 0, or -1 and err(). */
int lora_add(double *w, const LoraFileModule *m, int kk, double weight, const char *path);
#endif
