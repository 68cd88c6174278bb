#include "kernel.h"
/* A load of four bytes with a sign cannot become one of two bytes without. */
struct sock { int sk_gso_type; } RELOCATED;
SEC("fentry/tcp_v4_connect")
int BPF_PROG(program, struct sock *sock)
{
	result = sock->sk_gso_type;
	return 0;
}
