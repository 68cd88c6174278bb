#include "kernel.h"
/* Of Debian's kernels, those since 6.13 let programs schedule. */
struct sched_ext_ops {
	void (*dispatch)(int cpu, void *previous);
	char name[128];
};
SEC("struct_ops/dispatch")
int dispatch(unsigned long long *ctx)
{
	return 0;
}
SEC(".struct_ops")
struct sched_ext_ops own = { .dispatch = (void *)dispatch, .name = "own" };
