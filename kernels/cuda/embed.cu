/* Words as vectors. An id outside of its table must be refused, and it lies on the device: the one op that waits for it (once a prompt, not once a step of a
 * picture; a training step with a frozen text encoder has none). */
#include "dev.h"
#include "need.h"

struct EmbedArgs {
    Tensor y, ids, table, extra, position;
};

KERNEL embed_kernel(const EmbedArgs a)
{
    const unsigned c = (unsigned)a.y.c;
    FOR_EACH (i, row_count(a.y) * c) {
        const unsigned row = i / c, j = i - row * c;
        const int      id = *row_at<const int>(a.ids, row), word = id - a.table.n;
        float          x = word < 0 ? to_float(row_at<const half>(a.table, (unsigned)id)[j]) : row_at<const float>(a.extra, (unsigned)word)[j];
        if (a.position.p) x += to_float(row_at<const half>(a.position, row % (unsigned)a.y.w)[j]);
        round_to(row_at<half>(a.y, row)[j], x);
    }
}

/* wrong = the first place of an id that is not in [0, known), or -1. */
KERNEL wrong_id_kernel(Tensor ids, int known, int *wrong)
{
    *wrong = -1;
    for (int row = (int)row_count(ids) - 1; row >= 0; row--) {
        const int id = *row_at<const int>(ids, (unsigned)row);
        if (id < 0 || id >= known) *wrong = row;
    }
}

static int check_ids(Tensor ids, int known, int *room, cudaStream_t stream)
{
    int wrong = -1, id = 0;
    LAUNCH(wrong_id_kernel, 1, 1, 0, stream, ids, known, room);
    cudaError_t error = cudaMemcpyAsync(&wrong, room, sizeof wrong, cudaMemcpyDeviceToHost, stream);
    if (!error) error = cudaStreamSynchronize(stream);
    if (error) return err("embed: ids: %s", cudaGetErrorString(error));
    if (wrong < 0) return 0;
    const unsigned area = (unsigned)ids.h * (unsigned)ids.w, n = (unsigned)wrong / area;
    error = cudaMemcpyAsync(&id, pixel_at<const int>(ids, n, (unsigned)wrong - n * area), sizeof id, cudaMemcpyDeviceToHost, stream);
    if (!error) error = cudaStreamSynchronize(stream);
    return err("embed: ids: expected 0 to %d, found %d at %d", known - 1, id, wrong);
}

RUN(embed)
{
    EmbedArgs a = { op->y[0], op->x[0], op->x[1], op->x[2], op->x[3] };
    if (check_ids(a.ids, a.table.n + (a.extra.p ? a.extra.n : 0), (int *)op->scratch, stream)) return -1;
    LAUNCH(embed_kernel, blocks_for(row_count(a.y) * (unsigned)a.y.c), THREADS, 0, stream, a);
    return 0;
}

/* A thread a number of a learned word: it goes through all ids in order, so the sum has one order. */
KERNEL embed_dw_kernel(Tensor dextra, Tensor dy, Tensor ids, int base, int acc)
{
    const unsigned c = (unsigned)dextra.c;
    FOR_EACH (i, (unsigned)dextra.n * c) {
        const unsigned word = i / c, j = i - word * c;
        float         *to = row_at<float>(dextra, word) + j;
        double         sum = acc ? (double)*to : 0;
        for (unsigned row = 0; row < row_count(ids); row++)
            if (*row_at<const int>(ids, row) == base + (int)word) sum += (double)to_float(row_at<const half>(dy, row)[j]);
        *to = (float)sum;
    }
}

RUN(embed_dw)
{
    const Tensor dextra = op->y[0];
    LAUNCH(embed_dw_kernel, blocks_for((unsigned)(dextra.n * dextra.c)), THREADS, 0, stream, dextra, op->x[0], op->x[1], op->a.base, op->acc);
    return 0;
}
