/* A test in C, with libbpf, that prints TAP: counts OBJECT. */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>

static int number, failed;

static int check(int good, const char *name)
{
	failed |= !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++number, name);
	return good;
}

int main(int argc, char **argv)
{
	struct bpf_object *object = argc == 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *program;
	struct bpf_map *map;
	struct bpf_link *link;
	__u64 process = getpid(), calls = 0;
	__u32 first = 0, second = 1;

	printf("1..4\n");
	if (!check(object && !bpf_object__load(object), "loads"))
		return 1;
	map = bpf_object__find_map_by_name(object, "numbers");
	check(map && !bpf_map__update_elem(map, &first, sizeof(first), &process, sizeof(process), BPF_ANY),
	      "takes numbers");
	program = bpf_object__find_program_by_name(object, "count");
	link = program ? bpf_program__attach(program) : NULL;
	check(!!link, "attaches");
	for (int i = 0; i < 5; i++)
		getppid();
	if (map)
		bpf_map__lookup_elem(map, &second, sizeof(second), &calls, sizeof(calls), 0);
	if (!check(calls == 5, "counts"))
		printf("# %llu calls\n", calls);
	bpf_link__destroy(link);
	bpf_object__close(object);
	return failed;
}
