package evasion

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runSend runs cmd, a program of this kind, which sends once the kernel knows
// it.
func runSend(cmd *exec.Cmd, p *place) error { return runPart(cmd, order{Part: "send", Place: *p}) }

func runPart(cmd *exec.Cmd, o order) error {
	line, err := orderLine(o)
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), roleEnv+"=1")
	cmd.Stdin = strings.NewReader(line)
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	number, text, _ := strings.Cut(strings.TrimPrefix(lines[len(lines)-1], "done "), " ")
	if text == "" {
		return nil
	}
	errno, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("child: %s", text)
	}
	return fmt.Errorf("child: %s: %w", text, unix.Errno(errno))
}

// send waits until the kernel knows this program, and then tries.
func send(p *place) error {
	for deadline := time.Now().Add(patience / 2); probe() != nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	return sendNow(p)
}

func sendNow(p *place) error {
	return each(func() error { return stream(p.V4, func(fd int) error { return say(fd, p.V4) }) },
		func() error { return datagram(p.V4, func(fd int) error { return say(fd, p.V4) }) })
}

// goodMark stands at the end of a file that is another program than the others.
const goodMark = "the good one"

// isGood reports whether this program is the one that may do more.
func isGood() bool {
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer file.Close()
	end := make([]byte, len(goodMark))
	if _, err := file.Seek(-int64(len(end)), io.SeekEnd); err != nil {
		return false
	}
	_, err = io.ReadFull(file, end)
	return err == nil && string(end) == goodMark
}
