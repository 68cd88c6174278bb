#include "kernel.h"
/* Only some kernels have a cfs_rq with such a field: others never see the read. */
enum { TYPE_MATCHES = 2 };
struct cfs_rq { unsigned int h_nr_queued; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct cfs_rq *queue = (void *)ctx->args[1];
	if (__builtin_preserve_type_info(*(struct cfs_rq *)0, TYPE_MATCHES))
		result = BPF_CORE_READ(queue, h_nr_queued);
	return 0;
}
