/* clock.h - seconds that only go forward, whatever happens to the time of day: for durations. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

double now(void);                                       /* seconds of the monotonic clock */
#endif
