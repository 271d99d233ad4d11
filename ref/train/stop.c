#include "train/stop.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t came;

static void remember(int number)
{
    static const char line[] = "\nthis step is finished and saved; a second signal ends at once\n";
    int kept = errno;
    if (write(STDERR_FILENO, line, sizeof line - 1) < 0) errno = kept;  /* of all ways to print the one that a handler may take; nobody can be told */
    came = number;
}

void stop_listen(void)
{
    struct sigaction action = { .sa_handler = remember, .sa_flags = (int)(SA_RESETHAND | SA_RESTART) };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

const char *stop_wanted(void) { return came == SIGINT ? "SIGINT" : came == SIGTERM ? "SIGTERM" : NULL; }
