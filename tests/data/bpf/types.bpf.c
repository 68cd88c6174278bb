/* Iterators over numbers came with 6.4; newer headers have them, too. */
#define bpf_iter_num of_the_header
#include "kernel.h"
#undef bpf_iter_num
struct bpf_iter_num { int any; };
struct task_struct { int pid; };
typedef int (*handler)(int);
SEC("raw_tp/sched_switch")
int program(void *ctx)
{
	result = bpf_core_type_exists(struct bpf_iter_num) + bpf_core_type_size(struct bpf_iter_num) +
		 bpf_core_type_id_kernel(struct bpf_iter_num) + bpf_core_type_size(struct task_struct) +
		 bpf_core_type_id_local(struct task_struct);
	return 0;
}
