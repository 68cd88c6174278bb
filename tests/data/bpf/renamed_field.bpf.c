#include "kernel.h"
/* h_nr_running became h_nr_queued in 6.12. */
struct cfs_rq { unsigned int h_nr_running; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct cfs_rq *queue = (void *)ctx->args[1];
	result = BPF_CORE_READ(queue, h_nr_running);
	return 0;
}
