package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// workerEnv makes the test binary a worker.
const workerEnv = "SNITCH_TEST_CUSTOM_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		work := Work
		if raceDetector {
			work = Serve
		}
		if err := work(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a worker that runs as a process of its own.
type process struct {
	io.Reader
	io.WriteCloser
	cmd    *exec.Cmd
	stderr *cappedBuffer
}

func (p *process) Close() error {
	err := p.WriteCloser.Close()
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	return err
}

// cappedBuffer keeps the beginning: an out-of-memory report is long.
type cappedBuffer struct{ text []byte }

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if room := 4096 - len(b.text); room > 0 {
		b.text = append(b.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// spawner starts processes and keeps the last one.
type spawner struct {
	t     testing.TB
	count int
	last  *process
	all   []*process
}

func (s *spawner) spawn(context.Context) (io.ReadWriteCloser, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{workerEnv + "=1", "GOMAXPROCS=2", "GOTRACEBACK=none"}
	stderr := &cappedBuffer{}
	cmd.Stderr = stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, err
	}
	s.count++
	s.last = &process{out, in, cmd, stderr}
	s.all = append(s.all, s.last)
	started := s.last
	s.t.Cleanup(func() { _ = started.Close() })
	return s.last, nil
}

// clock is a time that the test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }
