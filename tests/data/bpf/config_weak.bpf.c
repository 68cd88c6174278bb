#include "kernel.h"
struct cfs_rq { unsigned int h_nr_running; } RELOCATED;
struct cfs_rq___new { unsigned int h_nr_queued; } RELOCATED;
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_NO_SUCH_OPTION __kconfig __weak;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct cfs_rq *old = (void *)ctx->args[1];
	struct cfs_rq___new *new = (void *)ctx->args[1];
	if (LINUX_KERNEL_VERSION >= ((6 << 16) + (12 << 8)))
		result = BPF_CORE_READ(new, h_nr_queued);
	else
		result = BPF_CORE_READ(old, h_nr_running);
	if (CONFIG_NO_SUCH_OPTION)
		result = BPF_CORE_READ(new, h_nr_queued) + BPF_CORE_READ(old, h_nr_running);
	return 0;
}
