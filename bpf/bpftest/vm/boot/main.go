// Command boot runs a program on another kernel:
//
//	go run ./bpf/bpftest/vm/boot -k 6.1 -f my.test -- ./my.test -test.v
//
// It exits with the program's status, or 125 when the guest did not get there.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"snitch/bpf/bpftest/vm"
)

func main() { os.Exit(run()) }

func run() int {
	m := vm.Machine{Files: map[string]string{}, Output: os.Stdout}
	flag.StringVar(&m.Kernel, "k", "6.12", "kernel: 5.10, 6.1, 6.12, 7, 6.12-arm64; see getkernels")
	flag.IntVar(&m.CPUs, "c", 0, "processors (default 2)")
	flag.IntVar(&m.Memory, "m", 0, "memory in MiB (default 768)")
	flag.StringVar(&m.Cmdline, "a", "", "more kernel parameters, like lockdown=integrity")
	flag.StringVar(&m.Dir, "d", "", "directory below /work to run in")
	limit := flag.Duration("t", 5*time.Minute, "time limit")
	flag.Func("f", "`file[:name]` to put into the guest, below /work unless the name is absolute", func(s string) error {
		from, name, named := strings.Cut(s, ":")
		if !named {
			name = filepath.Base(from)
		}
		m.Files[name] = from
		return nil
	})
	flag.Func("e", "`NAME=value` for the command's environment", func(s string) error {
		m.Env = append(m.Env, s)
		return nil
	})
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	status, err := m.Run(ctx, flag.Args()...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "boot:", err)
		return 125
	}
	return status
}
