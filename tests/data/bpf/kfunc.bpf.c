#include "kernel.h"
struct task_struct { int pid; };
/* Came with 6.2. */
extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
SEC("tp_btf/sched_switch")
int program(void *ctx)
{
	struct task_struct *task = bpf_task_from_pid(1);
	if (task)
		bpf_task_release(task);
	return 0;
}
