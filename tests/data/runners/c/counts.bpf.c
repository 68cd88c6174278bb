/* Counts how often one process calls getppid(2). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define GETPPID 110

char LICENSE[] SEC("license") = "GPL";

/* The process, and its calls so far. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

SEC("raw_tp/sys_enter")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 first = 0, second = 1;
	__u64 *process = bpf_map_lookup_elem(&numbers, &first);
	__u64 *calls = bpf_map_lookup_elem(&numbers, &second);

	if (process && calls && *process == bpf_get_current_pid_tgid() >> 32 &&
	    ctx->args[1] == GETPPID)
		__sync_fetch_and_add(calls, 1);
	return 0;
}
