#include "kernel.h"
/* Came with 6.6. */
extern bool CONFIG_NET_XGRESS __kconfig;
SEC("raw_tp/sched_switch")
int program(void *ctx)
{
	result = CONFIG_NET_XGRESS;
	return 0;
}
