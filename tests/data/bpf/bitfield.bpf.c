#include "kernel.h"
/* A bitfield at another bit on each kernel; one that became a plain field in 6.12. */
struct task_struct { unsigned in_iowait : 1; } RELOCATED;
struct net_device { unsigned char reg_state : 8; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[1];
	struct net_device *device = (void *)ctx->args[1];
	result = BPF_CORE_READ_BITFIELD_PROBED(task, in_iowait);
	result += BPF_CORE_READ_BITFIELD_PROBED(device, reg_state);
	return 0;
}
