#include "kernel.h"
/* do_unlinkat became filename_unlinkat in 7.x. */
SEC("fentry/do_unlinkat")
int program(void *ctx)
{
	result = 1;
	return 0;
}
