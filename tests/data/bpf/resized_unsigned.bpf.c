#include "kernel.h"
/* A load of two bytes without a sign becomes one of four. */
struct sock { unsigned short sk_tsflags; } RELOCATED;
SEC("fentry/tcp_v4_connect")
int BPF_PROG(program, struct sock *sock)
{
	result = sock->sk_tsflags;
	return 0;
}
