/* stop.h - SIGINT and SIGTERM as a request: the step in hand is finished, the picture in hand is not, and everything is saved. A line on stderr says so at
 * once, since a step may be long. A second one ends the program at once. */
#ifndef TRAIN_STOP_H
#define TRAIN_STOP_H

void        stop_listen(void);                          /* from now on */
const char *stop_wanted(void);                          /* NULL, or the name of the signal that came */
#endif
