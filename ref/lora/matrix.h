/* matrix.h - products and singular values of matrices in double, row-major and dense; results do not depend on the number of threads.
 *
 * Singular values come from one-sided Jacobi rotations (Hestenes 1958), which find small ones to full relative accuracy; a product of two thin matrices is
 * first brought to its core by two QR factorisations; a large matrix is first cut to the range of random combinations of its columns, sharpened by power
 * iterations (Halko, Martinsson and Tropp 2011). */
#ifndef LORA_MATRIX_H
#define LORA_MATRIX_H

/* c (m,n) += s a (m,k) b (k,n), or, turned, a (k,m) as it is stored: c += s a^T b. */
void matrix_product(double *c, const double *a, const double *b, int m, int k, int n, double s, int turned);

/* up (o,r) down (r,n) = sum over j < k of s[j] u_j v_j^T, k = min(o, r, n), s descending. u (k,o) and v (k,n): a vector a row, of length 1, or 0 where s is 0.
 * 0, or -1 and err(): no memory. */
int matrix_svd(double *u, double *s, double *v, const double *up, const double *down, int o, int r, int n);

/* The first k singular triplets of w (o,n), k <= min(o,n), nearly: the same layout. seed: of the random combinations. */
int matrix_svd_large(double *u, double *s, double *v, const double *w, int o, int n, int k, unsigned seed);

double matrix_norm(const double *x, int rows, int columns);                 /* Frobenius' */
void   matrix_transpose(double *to, const double *from, int rows, int columns);     /* to (columns,rows) = from (rows,columns) */
#endif
