/* y = sum of x down its rows, of an image or of all: the gradient of what was broadcast. A block adds a run of rows, 32 channels wide; a second kernel adds the
 * blocks' sums in order, all in double. */
#include "dev.h"
#include "need.h"

enum { ACROSS = 32, DOWN = THREADS / ACROSS };

struct SumShared {
    double sum[DOWN][ACROSS];
};

/* parts (n, runs, c): run r of image n has the rows from r * length on. Not each: one image, whose rows are those of all. */
KERNEL sum_kernel(Tensor x, double *parts, unsigned rows, unsigned length)
{
    SMEM(SumShared, s);
    const unsigned column = threadIdx.x % ACROSS, row = threadIdx.x / ACROSS, c = blockIdx.x * ACROSS + column, run = blockIdx.y, n = blockIdx.z;
    const unsigned end = min(rows, (run + 1) * length);
    double         sum = 0;
    if (c < (unsigned)x.c)
        for (unsigned r = run * length + row; r < end; r += DOWN) sum += (double)to_float(row_at<const half>(x, n * rows + r)[c]);
    s.sum[row][column] = sum;
    __syncthreads();
    if (row || c >= (unsigned)x.c) return;
    for (int r = 1; r < DOWN; r++) sum += s.sum[r][column];
    parts[((size_t)n * gridDim.y + run) * (unsigned)x.c + c] = sum;
}

template <class Y> KERNEL add_sums_kernel(Tensor y, const double *parts, unsigned runs, int acc)
{
    const unsigned c = (unsigned)y.c;
    FOR_EACH (i, (unsigned)y.n * c) {
        const unsigned n = i / c, j = i - n * c;
        Y             *to = row_at<Y>(y, n) + j;
        double         sum = acc ? (double)to_float(*to) : 0;
        for (unsigned run = 0; run < runs; run++) sum += parts[((size_t)n * runs + run) * c + j];
        round_to(*to, (float)sum);
    }
}

RUN(sum)
{
    const Tensor   y = op->y[0], x = op->x[0];
    const unsigned across = ceil_div((unsigned)x.c, ACROSS);
    const unsigned rows = row_count(x) / (unsigned)y.n, runs = sum_runs(rows), blocks = blocks_for((unsigned)(y.n * y.c));
    double        *parts = (double *)op->scratch;
    LAUNCH(sum_kernel, dim3(across, runs, (unsigned)y.n), dim3(THREADS), sizeof(SumShared), stream, x, parts, rows, ceil_div(rows, runs));
    if (y.type == T_F16) LAUNCH((add_sums_kernel<half>), dim3(blocks), dim3(THREADS), 0, stream, y, (const double *)parts, runs, op->acc);
    else LAUNCH((add_sums_kernel<float>), dim3(blocks), dim3(THREADS), 0, stream, y, (const double *)parts, runs, op->acc);
    return 0;
}
