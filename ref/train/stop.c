#include "train/stop.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came;

static void remember(int number) { came = number; }

void stop_listen(void)
{
    struct sigaction action = { .sa_handler = remember, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

const char *stop_wanted(void) { return came == SIGINT ? "SIGINT" : came == SIGTERM ? "SIGTERM" : NULL; }
