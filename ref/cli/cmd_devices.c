#include "base/err.h"
#include "cli/cmd.h"
#include "ops/sets.h"

static const double GB = 1 << 30;

static void print_devices(const SetEntry *e)
{
    if (e->runtime) printf("\n%s: runtime %d.%d, ", e->name, e->runtime / 1000, e->runtime % 1000 / 10);
    if (e->runtime && e->driver) printf("driver for %d.%d and earlier\n", e->driver / 1000, e->driver % 1000 / 10);
    else if (e->runtime) printf("no driver\n");
    for (int k = 0; k < e->devices; k++) {
        Device d;
        if (set_device(&d, e->name, k)) printf("  --device %d  %s\n", k, err_text());
        else printf("  --device %d  %s: compute capability %d.%d, %d processors at %d MHz, %.2f of %.2f GB free, %d GB/s\n", k, d.name, d.major, d.minor,
                    d.processors, d.megahertz, (double)d.free / GB, (double)d.total / GB, d.gigabytes_a_second);
    }
}

int cmd_devices(void)
{
    SetEntry e;
    printf("%-7s%-13s%-14s%s\n", "--set", "activations", "parameters", "what it is");
    for (int k = 0; set_entry(&e, k); k++) {
        printf("%-7s%-13s%-14s%s", e.name, type_name(e.act), type_name(e.acc), e.what);
        printf(*e.why_not ? "; not here: %s\n" : "\n", e.why_not);
    }
    for (int k = 0; set_entry(&e, k); k++) print_devices(&e);
    const Set *best = set_open("auto");
    if (!best) return -1;
    printf("\n--set auto, the default, is %s\n", best->name);
    return 0;
}
