// Command captures draws the pictures of the terminal interfaces for the docs:
// it makes a record that looks like a real one, plays its last connections
// again through a control socket, drives snitch by keys in a terminal (tmux),
// and writes what is on the screen as SVG.
//
//	go run ./tools/captures -snitch build/snitch -o docs/pictures
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"snitch/tools/seed/record"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("captures", flag.ContinueOnError)
	snitch := flags.String("snitch", "build/snitch", "the `binary`")
	out := flags.String("o", "docs/pictures", "`directory` of the pictures")
	n := flags.Int("connections", 60_000, "of the record")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := captures(ctx, *snitch, *out, *n); err != nil {
		fmt.Fprintln(os.Stderr, "captures:", err)
		return 1
	}
	return 0
}

// shot is one picture: the keys that lead there, and what is seen then.
type shot struct {
	name string
	args []string
	keys []string
	see  []string
}

func shots() []shot {
	tui, top := []string{"tui"}, []string{"top"}
	return []shot{
		{"tui-history", tui, []string{"t", "t"}, []string{"last 7 days", "firefox"}},
		{"tui-domains", tui, []string{"t", "t", "/", "fire", "Enter", "Enter"}, []string{"domains › exe=", "by total"}},
		{"tui-countries", tui, []string{"t", "t", "v", "country", "Enter"}, []string{"countries", "by total"}},
		{"tui-connections", tui, []string{"2"}, []string{"▸connections", "the newest"}},
		{"tui-connection", tui, []string{"2", "/", "firefox", "Enter", "Enter"}, []string{"verdict", "sha256"}},
		{"tui-alerts", tui, []string{"3"}, []string{"▸alerts", "new"}},
		{"tui-policy", tui, []string{"4"}, []string{"rules in use"}},
		{"tui-help", tui, []string{"?"}, []string{"any other key"}},
		{"top-programs", top, nil, []string{"● live", "RATE▾"}},
		{"top-connections", top, []string{"Right"}, []string{"▸connections", "● live", "RATE▾"}},
		{"top-destinations", top, []string{"Right", "Right"}, []string{"▸destinations", "● live", "RATE▾"}},
	}
}

func captures(ctx context.Context, snitch, out string, n int) error {
	snitch, err := filepath.Abs(snitch)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "captures")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	state := filepath.Join(dir, "state")
	if err := record.Make(ctx, record.Config{Dir: state, Connections: n, Days: 30, Seed: 1, End: time.Now()}); err != nil {
		return fmt.Errorf("make record: %w", err)
	}
	end, err := play(ctx, state)
	if err != nil {
		return fmt.Errorf("play the record: %w", err)
	}
	defer end()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, s := range shots() {
		pane, err := s.take(ctx, filepath.Join(dir, s.name), snitch, state)
		if err == nil {
			err = os.WriteFile(filepath.Join(out, s.name+".svg"), svg(pane, width), 0o644)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println(filepath.Join(out, s.name+".svg"))
	}
	return nil
}

// Size of the terminal.
const (
	width  = 120
	height = 30
)

// seenWithin is how long a picture may take to come up, and settle how long the
// live ones fill.
const (
	seenWithin = 30 * time.Second
	settle     = 14 * time.Second
)

// take drives snitch to the picture and returns the screen, with its colours.
func (s *shot) take(ctx context.Context, socket, snitch, state string) (string, error) {
	tmux := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-S", socket}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
		}
		return string(out), nil
	}
	words := append([]string{"env", "TERM=xterm-256color", "COLORTERM=truecolor", snitch}, s.args...)
	command := strings.Join(words, " ") + " --state '" + strings.ReplaceAll(state, "'", `'\''`) + "'"
	if _, err := tmux("-f", "/dev/null", "new-session", "-d", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command); err != nil {
		return "", err
	}
	defer func() { _, _ = tmux("kill-server") }()
	if err := await(ctx, tmux, []string{"? help"}); err != nil {
		return "", err
	}
	for _, k := range s.keys {
		if _, err := tmux("send-keys", k); err != nil {
			return "", err
		}
		if err := await(ctx, tmux, nil); err != nil {
			return "", err
		}
	}
	if err := await(ctx, tmux, s.see); err != nil {
		return "", err
	}
	if s.args[0] == "top" {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(settle):
		}
	}
	return tmux("capture-pane", "-p", "-e", "-N")
}

// await waits until all words are on the screen, and nothing is being read.
func await(ctx context.Context, tmux func(args ...string) (string, error), words []string) error {
	var pane string
	for deadline := time.Now().Add(seenWithin); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(150 * time.Millisecond) {
		var err error
		if pane, err = tmux("capture-pane", "-p"); err != nil {
			return err
		}
		seen := !strings.Contains(pane, "reading …")
		for _, w := range words {
			seen = seen && strings.Contains(pane, w)
		}
		if seen && len(words) > 0 {
			time.Sleep(300 * time.Millisecond)
			return nil
		}
		if seen && time.Until(deadline) < seenWithin-400*time.Millisecond {
			return nil // a key without words to wait for
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%q is not on the screen:\n%s", words, pane))
}
