#include "kernel.h"
/* Came with 6.13. */
SEC("iter/kmem_cache")
int program(void *ctx)
{
	return 0;
}
