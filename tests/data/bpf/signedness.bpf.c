#include "kernel.h"
/* net.ifindex lost its sign after 6.1; sk_gso_type its sign and two bytes. */
struct net { int ifindex; } RELOCATED;
struct sock { int sk_gso_type; } RELOCATED;
SEC("raw_tp/sched_switch")
int program(struct bpf_raw_tracepoint_args *ctx)
{
	struct net *net = (void *)ctx->args[1];
	struct sock *sock = (void *)ctx->args[1];
	result = __builtin_preserve_field_info(net->ifindex, BPF_FIELD_SIGNED) +
		 __builtin_preserve_field_info(sock->sk_gso_type, BPF_FIELD_SIGNED) +
		 bpf_core_field_size(sock->sk_gso_type);
	return 0;
}
