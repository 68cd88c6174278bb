#include "kernel.h"
/* Programs that make system calls came with 5.14. */
SEC("syscall")
int program(void *ctx)
{
	return 0;
}
