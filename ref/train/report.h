/* report.h - output_dir/report.html: the whole run on one page that needs no network, to look at while it goes on and to keep.
 *
 * report_page.html, carried in the program, draws what it finds in one JSON object, which this writes: settings, plan, pictures (some of them, small) with
 * their captions and buckets, the curves of log.csv, how far each module has moved, and the samples. All of it comes from the trainer, the log and the files
 * in sample/, so a resumed run's page shows the whole run.
 *
 *     moved of a module = s |B A| / |W|,  Frobenius norms;  |B A|^2 = the sum of the elements of (B^T B) * (A A^T), both (r,r): B A itself is never made */
#ifndef TRAIN_REPORT_H
#define TRAIN_REPORT_H
#include "train/trainer.h"

typedef struct Report Report;

Report *report_open(const Trainer *t);                  /* t outlives it. NULL and err() */
void    report_close(Report *report);                   /* report may be NULL */

/* Writes the page, which is replaced whole. Without `always` at most every half minute and in a fiftieth of the time: called after each step, it keeps the
 * page fresh. 0, or -1 and err(). */
int report_write(Report *report, int always);

/* *norm = s |B A| of an adapter in the block. 0, or -1 and err(). */
int report_update_norm(double *norm, const Params *params, const Adapter *adapter);
#endif
