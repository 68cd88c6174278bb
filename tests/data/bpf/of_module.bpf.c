#include "kernel.h"
/* A type of the module nf_conntrack. */
struct nf_conn { unsigned long status; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct nf_conn *connection = (void *)ctx->args[1];
	result = BPF_CORE_READ(connection, status);
	return 0;
}
