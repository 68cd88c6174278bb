#include "kernel.h"
struct task_struct { int pid; };
extern struct task_struct *bpf_task_from_pid(int pid) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
SEC("tp_btf/sched_switch")
int program(void *ctx)
{
	struct task_struct *task;
	if (!bpf_task_from_pid || !bpf_task_release)
		return 0;
	task = bpf_task_from_pid(1);
	if (task)
		bpf_task_release(task);
	return 0;
}
