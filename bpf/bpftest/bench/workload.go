package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"snitch/bpf/bpftest"
)

const (
	vethAddress     = "10.77.0.2:7900"
	loopbackAddress = "127.0.0.1:7900"
)

// workload is one line of the table of pairs.
type workload struct {
	title string
	what  string // of traffic speed
	to    string
	unit  string
	aim   float64 // attached/base that the project aims at, 0 for none
}

func workloads() []workload {
	return []workload{
		{"connect+close, veth", "connect", vethAddress, "connections/s", 0.92},
		{"connect+close, loopback", "connect", loopbackAddress, "connections/s", 0.92},
		{"1-byte UDP, connected", "udp-connected", vethAddress, "datagrams/s", 0.88},
		{"1-byte UDP, unconnected", "udp-unconnected", vethAddress, "datagrams/s", 0.88},
		{"1-byte TCP round trip, loopback", "tcp-round-trip", loopbackAddress, "round trips/s", 0},
		{"1 KB TCP writes, veth", "tcp-1k", vethAddress, "KB/s", 0},
		{"bulk TCP, veth", "tcp-bulk", vethAddress, "KB/s", 0.99},
		{"bulk TCP, loopback", "tcp-bulk", loopbackAddress, "KB/s", 0.99},
		{"fork+exec+exit", "exec", loopbackAddress, "processes/s", 0},
	}
}

// speed is what traffic speed prints.
type speed struct {
	Ops uint64        `json:"ops"`
	Ns  time.Duration `json:"ns"`
}

func (s speed) perSecond() float64 { return float64(s.Ops) / s.Ns.Seconds() }

// serve runs f with both servers: the far one outside of the cgroup.
func (b *bench) serve(f func() error) error {
	return b.server(bpftest.Place{Net: b.pair.Server}, vethAddress, func() error {
		return b.server(bpftest.Place{Net: b.pair.Client, Cgroup: b.cgroup}, loopbackAddress, f)
	})
}

func (b *bench) server(at bpftest.Place, address string, f func() error) error {
	cmd := exec.Command(b.traffic, "speed-serve", "-at", address, "-ready", "3")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.ExtraFiles, cmd.Stderr = []*os.File{w}, os.Stderr
	err = bpftest.Start(cmd, at)
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	_, err = bufio.NewReader(r).ReadString('\n')
	if err == nil {
		err = f()
	}
	return errors.Join(err, stdin.Close(), cmd.Wait())
}

// once runs a workload in the client's namespace and cgroup.
func (b *bench) once(what, to string, more ...string) (speed, error) {
	args := append([]string{"speed", "-what", what, "-to", to, "-for", b.length.String(), "-dir", b.programs}, more...)
	cmd := exec.Command(b.traffic, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := bpftest.Start(cmd, bpftest.Place{Net: b.pair.Client, Cgroup: b.cgroup}); err != nil {
		return speed{}, err
	}
	if err := cmd.Wait(); err != nil {
		return speed{}, fmt.Errorf("run %s: %w: %s", what, err, stderr.String())
	}
	var s speed
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return s, fmt.Errorf("read result of %s: %w", what, err)
	}
	if s.Ops == 0 || s.Ns <= 0 {
		return s, fmt.Errorf("%s did nothing in %s", what, strconv.Quote(s.Ns.String()))
	}
	return s, nil
}
