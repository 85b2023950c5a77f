package bpf

// The tiers for kernels that lack what the reference tier needs are objects of
// their own: what they share with it are headers, and functions of those that a
// tier does not use are no mistake.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -go-package bpf -cflags "-O2 -g -mcpu=v3 -Wall -Werror -Wno-unused-function -Iheaders" counters counters.bpf.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -go-package bpf -cflags "-O2 -g -mcpu=v3 -Wall -Werror -Wno-unused-function -Iheaders" fexit fexit.bpf.c
