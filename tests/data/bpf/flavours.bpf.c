#include "kernel.h"
/* The same, with both names. */
struct cfs_rq___old { unsigned int h_nr_running; } RELOCATED;
struct cfs_rq___new { unsigned int h_nr_queued; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct cfs_rq___new *queue = (void *)ctx->args[1];
	struct cfs_rq___old *old = (void *)ctx->args[1];
	if (bpf_core_field_exists(queue->h_nr_queued))
		result = BPF_CORE_READ(queue, h_nr_queued);
	else
		result = BPF_CORE_READ(old, h_nr_running);
	return 0;
}
