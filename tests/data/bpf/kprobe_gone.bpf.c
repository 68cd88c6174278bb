#include "kernel.h"
/* Loads everywhere, and is found missing when it is attached. */
SEC("kprobe/do_unlinkat")
int program(void *ctx)
{
	result = 1;
	return 0;
}
