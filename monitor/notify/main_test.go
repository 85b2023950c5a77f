package notify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"snitch/monitor/notify/notifytest"
)

// person is a user id that nobody has.
const person = 61241

// wordHelper is the name under which the test binary is a helper.
const wordHelper = "notify-helper"

// TestMain makes the test binary a helper, or a process of a desktop, when it
// is started as one.
func TestMain(m *testing.M) {
	words := notifytest.Commands()
	words[wordHelper] = func() {
		if err := Helper(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, wordHelper+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if work := words[filepath.Base(os.Args[0])]; work != nil {
		work()
	}
	os.Exit(m.Run())
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 15 s: %s", what)
}
