#include "kernel.h"
/* Came with 6.10. */
SEC("tp_btf/sched_prepare_exec")
int program(void *ctx)
{
	result = 1;
	return 0;
}
