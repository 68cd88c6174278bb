#include "kernel.h"
/* Arenas came with 6.9. */
enum bpf_map_type___own { BPF_MAP_TYPE_ARENA___own = 1, };
SEC("raw_tp/sched_switch")
int program(void *ctx)
{
	result = bpf_core_enum_value(enum bpf_map_type___own, BPF_MAP_TYPE_ARENA___own);
	return 0;
}
