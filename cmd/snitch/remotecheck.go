package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"snitch/monitor/export/remote"
)

// wordRemoteCheck is the word with which the binary starts itself to speak to
// the server: what comes from the network is not read by root.
const wordRemoteCheck = "remote-check"

// Bounds of what the child reads and says.
const (
	maxRemoteAccess = 2 << 20
	maxRemoteReport = 64 << 10
)

// checkRemote asks an unprivileged child.
func checkRemote(ctx context.Context, access *remote.Access) (report remote.Report, err error) {
	in, err := json.Marshal(access)
	if err != nil {
		return report, fmt.Errorf("start checking: %w", err)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", wordRemoteCheck)
	cmd.Args[0] = os.Args[0] // tests are found by it
	cmd.Dir, cmd.Env = "/", []string{"LANG=C", "PATH=/nonexistent"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &capped{to: &out, left: maxRemoteReport}, &capped{to: &said, left: fetchError}
	if os.Geteuid() == 0 {
		u := helperUser()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: []uint32{}}}
	}
	if err := cmd.Run(); err != nil {
		if s := strings.TrimSpace(said.String()); s != "" {
			return report, errors.New(s)
		}
		return report, fmt.Errorf("check: %w", err)
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return report, fmt.Errorf("read what the check found: %w", err)
	}
	return report, nil
}

// runRemoteCheckChild is the child.
func runRemoteCheckChild(in io.Reader, out, stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintln(stderr, err)
		return exitNo
	}
	if os.Geteuid() == 0 {
		return fail(errors.New("this is not to be run as root"))
	}
	var access remote.Access
	if err := json.NewDecoder(io.LimitReader(in, maxRemoteAccess)).Decode(&access); err != nil {
		return fail(fmt.Errorf("read access: %w", err))
	}
	db, err := remote.Open(&access)
	if err != nil {
		return fail(err)
	}
	report, err := db.Check(context.Background(), &access)
	if err = errors.Join(err, db.Close()); err != nil {
		return fail(err)
	}
	if err := json.NewEncoder(out).Encode(report); err != nil {
		return fail(err)
	}
	return exitDone
}
