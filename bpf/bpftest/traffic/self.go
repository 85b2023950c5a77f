package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// envSelf carries facts that a process in other namespaces cannot see about
// itself: a Report in JSON of which only the identity is read.
const envSelf = "SNITCH_TRAFFIC_SELF"

// envKnown names files whose hash the suite knows already, as PATH=SHA256 on a
// line each: on an emulated machine hashing would take longer than the rest.
const envKnown = "SNITCH_TRAFFIC_KNOWN"

// known returns the hash of the file behind exe, read only when nobody told it.
func known(exe, path string) (string, error) {
	for line := range strings.Lines(os.Getenv(envKnown)) {
		name, sum, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name != path {
			continue
		}
		var a, b unix.Stat_t
		if unix.Stat(exe, &a) == nil && unix.Stat(path, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev {
			return sum, nil
		}
	}
	return digest(exe)
}

// self is who this process is, to be asked before it changes anything. What
// the environment says beats what can be seen: all of it where it names a pid,
// else only the parent.
func self(name string) (*report.Report, error) {
	var told report.Report
	if s := os.Getenv(envSelf); s != "" {
		if err := json.Unmarshal([]byte(s), &told); err != nil {
			return nil, fmt.Errorf("read %s: %w", envSelf, err)
		}
	}
	if told.PID != 0 {
		told.Generator, told.UID = name, os.Getuid()
		return &told, nil
	}
	r, err := look()
	if err != nil {
		return nil, err
	}
	r.Generator = name
	if told.ParentPID != 0 {
		r.ParentPID, r.ParentExe, r.ParentSHA256 = told.ParentPID, told.ParentExe, told.ParentSHA256
		r.GrandparentExe, r.GrandparentSHA256 = told.GrandparentExe, told.GrandparentSHA256
	}
	return r, nil
}

// look finds out from /proc.
func look() (*report.Report, error) {
	r := &report.Report{UID: os.Getuid()}
	var err error
	if r.PID, r.ParentPID, r.Start, err = readStat("/proc/self/stat"); err != nil {
		return nil, err
	}
	if r.Exe, r.ExeKind, err = executable("/proc/self/exe"); err != nil {
		return nil, err
	}
	if r.SHA256, err = known("/proc/self/exe", r.Exe); err != nil {
		return nil, err
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return nil, fmt.Errorf("read own name: %w", err)
	}
	r.Name = strings.TrimSuffix(string(comm), "\n")
	describeParents(r)
	return r, nil
}

// describeParents fills in what can be seen of the parent and its parent:
// nothing when one is gone or belongs to somebody else. The suite then knows it
// from elsewhere.
func describeParents(r *report.Report) {
	r.ParentExe, r.ParentSHA256 = describe(r.ParentPID)
	if _, grandparent, _, err := readStat(fmt.Sprintf("/proc/%d/stat", r.ParentPID)); err == nil && r.ParentExe != "" {
		r.GrandparentExe, r.GrandparentSHA256 = describe(grandparent)
	}
}

// describe names and hashes what a process runs, "" for what cannot be seen.
func describe(pid int) (path, sum string) {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	path, _, err := executable(exe)
	if err != nil {
		return "", ""
	}
	if sum, err = known(exe, path); err != nil {
		return "", ""
	}
	return path, sum
}

// readStat reads pid, parent and start time of a process.
func readStat(path string) (pid, parent int, start uint64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	open, end := bytes.IndexByte(b, ' '), bytes.LastIndexByte(b, ')')
	if open < 0 || end < 0 {
		return 0, 0, 0, fmt.Errorf("%s: unknown format", path)
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 {
		return 0, 0, 0, fmt.Errorf("%s: %d fields", path, len(fields))
	}
	pid, err1 := strconv.Atoi(string(b[:open]))
	parent, err2 := strconv.Atoi(fields[1])
	start, err3 := strconv.ParseUint(fields[19], 10, 64)
	return pid, parent, start, errors.Join(err1, err2, err3)
}

// exeKind reads what /proc says of an executable. A name may really end in
// " (deleted)": the number of links decides.
func exeKind(link string, links uint64) (path, kind string) {
	path, gone := strings.CutSuffix(link, " (deleted)")
	switch {
	case links > 0:
		return link, "file"
	case gone && strings.HasPrefix(path, "/memfd:"):
		return path[1:], "memfd"
	default:
		return path, "deleted"
	}
}

// executable names the file behind /proc/PID/exe.
func executable(exe string) (path, kind string, err error) {
	link, err := os.Readlink(exe)
	if err != nil {
		return "", "", fmt.Errorf("read name of executable: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		return "", "", fmt.Errorf("stat executable: %w", err)
	}
	path, kind = exeKind(link, uint64(st.Nlink))
	return path, kind, nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open to hash: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// printReport writes r as one line with one write call: standard output is a
// file opened for appending when several processes share it.
func printReport(r *report.Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if _, err := os.Stdout.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

// reported runs f with the report of this process and prints it; a failure is
// part of what is printed.
func reported(name string, f func(r *report.Report) error) error {
	r, err := self(name)
	if err != nil {
		return err
	}
	began := time.Now()
	if err = f(r); err != nil {
		r.Error = err.Error()
	}
	r.Took = time.Since(began).Microseconds()
	return errors.Join(err, printReport(r))
}
