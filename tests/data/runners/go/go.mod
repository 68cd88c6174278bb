module example.org/needskernel

go 1.19
