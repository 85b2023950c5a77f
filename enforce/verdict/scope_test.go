package verdict

import (
	"io"
	"net"
	"testing"

	"snitch/bpf"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// What no process of the cgroup holds is nobody's to judge: a connection from
// outside that is older than the programs survives what forbids it inside.
func TestCutStaysInScope(t *testing.T) {
	l := newLab(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	denied := rule.Rule{ID: "nobody", Action: event.ActionDeny, Match: rule.Match{Direction: []event.Direction{event.Out}, To: toPort(port)}}
	// The daemon tells of everybody who lives.
	if err := l.monitor.Processes(func(r *bpf.ExecRecord) { l.Process(processOf(r)) }); err != nil {
		t.Fatal(err)
	}
	l.set(nil)
	l.set(nil, denied)
	if cut := l.stats.cut.Load(); cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
	if _, err := client.Write([]byte("still open")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(server, make([]byte, len("still open"))); err != nil {
		t.Error(err)
	}
}
