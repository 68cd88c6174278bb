#include "kernel.h"
enum bpf_map_type___own { BPF_MAP_TYPE_ARENA___own = 1, };
SEC("raw_tp/sched_switch")
int program(void *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_map_type___own, BPF_MAP_TYPE_ARENA___own))
		result = bpf_core_enum_value(enum bpf_map_type___own, BPF_MAP_TYPE_ARENA___own);
	return 0;
}
