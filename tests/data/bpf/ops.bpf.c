#include "kernel.h"
struct sock;
struct tcp_congestion_ops {
	unsigned int (*ssthresh)(struct sock *sock);
	char name[16];
};
SEC("struct_ops/ssthresh")
unsigned int ssthresh(unsigned long long *ctx)
{
	return 2;
}
SEC(".struct_ops")
struct tcp_congestion_ops own = { .ssthresh = (void *)ssthresh, .name = "own" };
