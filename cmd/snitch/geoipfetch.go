package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"snitch/monitor/geoip"
)

// wordFetch is the word with which the binary starts itself to fetch a table
// of places: its only argument is the address, its output is the table.
const wordFetch = "geoip-fetch"

// Exit code of a fetch that found nothing there.
const fetchNothing = 4

// fetchError bounds what a child may say about its failure.
const fetchError = 4 << 10

// fetchChild is a process that fetches a table and has no privileges.
type fetchChild struct {
	cmd  *exec.Cmd
	out  io.ReadCloser
	said bytes.Buffer // on standard error
	wait func() error // for its end; may be called again
}

// Read is what the child fetched. It only ends if the child did so well.
func (c *fetchChild) Read(b []byte) (int, error) {
	n, err := c.out.Read(b)
	if n > 0 || err == nil {
		return n, nil
	}
	if ended := c.wait(); ended != nil {
		return 0, ended
	}
	return 0, io.EOF
}

// startFetch starts this binary again, as an ordinary user when this one is
// root: what comes from the network is not read by root.
func startFetch(ctx context.Context, address string) (*fetchChild, error) {
	c := &fetchChild{cmd: exec.CommandContext(ctx, "/proc/self/exe", wordFetch, address)}
	c.cmd.Args[0] = os.Args[0] // tests are found by it
	c.cmd.Dir = "/"
	c.cmd.Env = proxies(os.Environ())
	c.cmd.Stderr = &capped{to: &c.said, left: fetchError}
	if os.Geteuid() == 0 {
		u := helperUser()
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: []uint32{}}}
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start fetching: %w", err)
	}
	c.out = out
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start fetching: %w", err)
	}
	c.wait = sync.OnceValue(c.ended)
	return c, nil
}

// ended closes its output, which ends it if it still writes, and says how it
// ended.
func (c *fetchChild) ended() error {
	_ = c.out.Close() // Wait would do it
	err := c.cmd.Wait()
	var exit *exec.ExitError
	switch said := strings.TrimSpace(c.said.String()); {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == fetchNothing:
		return fmt.Errorf("%s: %w", said, geoip.ErrNotPublished)
	case said != "":
		return errors.New(said)
	}
	return fmt.Errorf("fetch table of places: %w", err)
}

// proxies are the settings of the environment that a fetch needs.
func proxies(environ []string) []string {
	var out []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR":
			out = append(out, e)
		}
	}
	return out
}

// capped keeps the beginning of what is written to it.
type capped struct {
	to   *bytes.Buffer
	left int
}

func (c *capped) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.to.Write(b[:n])
	c.left -= n
	return len(b), nil
}

// runFetch is the child.
func runFetch(args []string, out, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) != 1 {
		fmt.Fprintln(stderr, "one address is wanted")
		return exitUsage
	}
	switch err := geoip.Fetch(ctx, args[0], out); {
	case err == nil:
		return exitDone
	case errors.Is(err, geoip.ErrNotPublished):
		address, _, _ := strings.Cut(err.Error(), ": "+geoip.ErrNotPublished.Error())
		fmt.Fprintln(stderr, address)
		return fetchNothing
	default:
		fmt.Fprintln(stderr, err)
		return exitNo
	}
}
