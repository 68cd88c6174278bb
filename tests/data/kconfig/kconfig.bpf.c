/* An object that asks libbpf for values of the kernel's configuration.
 * clang -O2 -g -target bpf -fdebug-compilation-dir=. -I/usr/include/x86_64-linux-gnu -c kconfig.bpf.c
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern unsigned long CONFIG_HZ __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;

SEC("raw_tp/sys_enter")
int hertz(void *ctx)
{
	return CONFIG_BPF_SYSCALL && CONFIG_HZ == 250;
}

char LICENSE[] SEC("license") = "GPL";
