package bpftest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Place says where a process starts; zero fields mean where the test is.
type Place struct {
	Net    *Namespace
	Cgroup *Cgroup
}

// Start starts cmd in its place: the process is in its namespace and cgroup
// before its first instruction, so nothing it does escapes a filter. The
// caller waits for cmd.
func Start(cmd *exec.Cmd, at Place) error {
	if at.Cgroup != nil {
		dir, err := os.Open(at.Cgroup.Dir())
		if err != nil {
			return fmt.Errorf("open cgroup: %w", err)
		}
		defer dir.Close()
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = new(syscall.SysProcAttr)
		}
		cmd.SysProcAttr.UseCgroupFD = true
		cmd.SysProcAttr.CgroupFD = int(dir.Fd())
	}
	if at.Net == nil {
		return cmd.Start()
	}
	return at.Net.Do(cmd.Start)
}
