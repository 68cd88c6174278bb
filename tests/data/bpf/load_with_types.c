// Loads each object with the types of a file in place of the kernel's, and says how that ends.
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[4096];

	(void)level;
	vsnprintf(line, sizeof(line), format, args);
	// What became of each relocation.
	if (strstr(line, ": patched insn") || strstr(line, "w/ invalid insn"))
		fputs(line, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .btf_custom_path = argv[1]);

	libbpf_set_print(print);
	for (int i = 2; i < argc; i++) {
		struct bpf_object *object = bpf_object__open_file(argv[i], &options);
		int error = object ? bpf_object__load(object) : 1;

		printf("%s: %s\n", strrchr(argv[i], '/') + 1, error ? "fails" : "loads");
		bpf_object__close(object);
	}
	return 0;
}
