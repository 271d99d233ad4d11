/* events.h - TensorBoard's event files, written by hand: scalars over steps.
 *
 * The file is a row of TFRecords, each  length (u64), its masked CRC, data, the data's masked CRC  (little-endian; CRC-32C, RFC 3720, turned right by 15 bits
 * plus 0xa282ead8).  The data are protocol buffers in wire format:
 *     Event { 1: wall_time double, 2: step int64, 3: file_version string, 5: summary, 7: session_log }    Summary { 1: Value { 1: tag, 2: float } ... }
 * The first record says the version; one that says START at a step tells TensorBoard to forget what another file of the folder has from there on. */
#ifndef TRAIN_EVENTS_H
#define TRAIN_EVENTS_H
#include <stdint.h>
#include <stdio.h>

typedef struct {
    FILE *file;
    char *path;
} Events;

typedef struct {
    const char *tag;                                    /* "loss/current" */
    double      value;                                  /* written as a float */
} EventScalar;

/* A new file DIR/events.out.tfevents.SECONDS.sdlora; the folder is made. wall: seconds since 1970; step: the next to be written. 0, or -1 and err(). */
int events_open(Events *events, const char *dir, double wall, int64_t step);
int events_put(Events *events, double wall, int64_t step, const EventScalar *scalar, int count);   /* one record, at most 16 scalars; flushed */
int events_close(Events *events);                       /* 0, or -1 and err(): not everything reached the disk */

uint32_t crc32c(const void *data, size_t size);
#endif
