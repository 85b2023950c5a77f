package notifytest

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
)

// Full is what a notification server of a whole desktop can do.
func Full() []string { return []string{"actions", "body", "body-markup", "persistence"} }

// Toast is one call of Notify, as the server got it.
type Toast struct {
	From     uint32 // who called, as the bus knows it
	ID       uint32
	Replaces uint32
	Icon     string
	Title    string
	Body     string
	Actions  []string
	Urgency  uint8
}

// Order is what a test has the server tell its clients.
type Order struct {
	Invoke string // an action of ID
	Close  uint32 // the reason of closing ID
	ID     uint32
}

// Server is a running notification server. Its methods are safe for concurrent
// use.
type Server struct {
	desktop *Desktop
	cmd     *exec.Cmd
	in      io.Writer

	mu  sync.Mutex
	got []Toast // after one that says it serves
}

// Serve starts a notification server with capabilities, as the person.
func (d *Desktop) Serve(caps ...string) *Server {
	d.tb.Helper()
	cmd := command(wordServer, caps...)
	d.Enter(cmd, d.UID)
	in, err := cmd.StdinPipe()
	if err != nil {
		d.tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		d.tb.Fatalf("start notification server: %v", err)
	}
	s := &Server{desktop: d, cmd: cmd, in: in}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for dec := json.NewDecoder(out); ; {
			var t Toast
			if dec.Decode(&t) != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, t)
			s.mu.Unlock()
		}
	}()
	d.tb.Cleanup(func() { s.End(); <-read })
	d.eventually("the server serves", func() bool { return s.Calls() != nil })
	return s
}

// End ends the server as a crash would.
func (s *Server) End() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// Calls are the calls of Notify so far, nil while it does not serve.
func (s *Server) Calls() []Toast {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return nil
	}
	return append([]Toast{}, s.got[1:]...)
}

// Await returns the calls once there are n.
func (s *Server) Await(n int) []Toast {
	s.desktop.tb.Helper()
	s.desktop.eventually(fmt.Sprintf("%d toasts", n), func() bool { return len(s.Calls()) >= n })
	return s.Calls()
}

// Tell has the server tell its clients.
func (s *Server) Tell(o Order) {
	s.desktop.tb.Helper()
	if err := json.NewEncoder(s.in).Encode(o); err != nil {
		s.desktop.tb.Fatal(err)
	}
}
