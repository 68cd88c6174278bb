#include "kernel.h"
/* Guarded by what the caller passes, by a constant, and not at all. */
struct cfs_rq___old { unsigned int h_nr_running; } RELOCATED;
struct cfs_rq___new { unsigned int h_nr_queued; } RELOCATED;
const volatile int wanted = 0;
static __attribute__((noinline)) int read_queue(void *queue, int has_new)
{
	struct cfs_rq___new *new = queue;
	struct cfs_rq___old *old = queue;
	if (has_new)
		return BPF_CORE_READ(new, h_nr_queued);
	return BPF_CORE_READ(old, h_nr_running);
}
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct cfs_rq___new *queue = (void *)ctx->args[1];
	struct task_struct___none { int no_such_field; } RELOCATED *none = (void *)queue;
	result = read_queue(queue, bpf_core_field_exists(queue->h_nr_queued));
	if (wanted)
		result = BPF_CORE_READ(none, no_such_field);
	return 0;
}
