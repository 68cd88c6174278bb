#include "kernel.h"
/* The offset differs on every kernel. */
struct task_struct { int pid; struct task_struct *real_parent; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[1];
	result = BPF_CORE_READ(task, real_parent, pid);
	return 0;
}
