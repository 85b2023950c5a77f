package bpf

// The pinned clang; CI regenerates and fails on a difference.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -go-package bpf -cflags "-O2 -g -mcpu=v3 -Wall -Werror -Iheaders" -type process_id -type flow_key -type flow_value -type flow -type record -type file_id -type exec_record -type fork_record -type exit_record -type payload_record -type loss -type record_type -type flow_kind -type flow_result -type flow_flag -type exec_flag -type payload_kind -type loss_cause snitch snitch.bpf.c
