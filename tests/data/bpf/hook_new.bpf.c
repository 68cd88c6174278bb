#include "kernel.h"
/* Came with 6.12. */
SEC("lsm/bdev_alloc_security")
int program(void *ctx)
{
	return 0;
}
