package verdict

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"snitch/bpf"
	"snitch/enforce/cut"
	"snitch/enforce/netns"
)

// cutRounds is how often forbidden connections are looked for: the last time
// only to see that none is left.
const cutRounds = 4

// cutLocked destroys the connections that the tables in use forbid, until the
// kernel lists none. Their programs get ECONNABORTED; until then no packet of
// theirs leaves.
func (b *Backend) cutLocked(ctx context.Context) {
	var problems error
	for round := 1; ctx.Err() == nil; round++ {
		doomed := map[uint32][]bpf.VerdictEvent{} // by network namespace
		if err := b.kernel.Forbidden(func(e *bpf.VerdictEvent) { doomed[e.Netns] = append(doomed[e.Netns], *e) }); err != nil {
			b.problem("look for forbidden connections", err)
			return
		}
		if len(doomed) == 0 {
			return
		}
		if round == cutRounds {
			b.problem("cut connections", errors.Join(problems, left(doomed)))
			return
		}
		problems = nil
		for namespace, events := range doomed {
			problems = errors.Join(problems, b.destroy(namespace, events))
			for i := range events {
				if round == 1 { // later ones are the same, or as good as
					b.queue(b.denials, &events[i])
				}
			}
		}
	}
}

// left says what was not cut.
func left(doomed map[uint32][]bpf.VerdictEvent) error {
	n := 0
	var one bpf.VerdictEvent
	for _, events := range doomed {
		n, one = n+len(events), events[0]
	}
	return fmt.Errorf("%d are still open, one of process %d to %s", n, one.Id.Pid, end(one.Raddr, one.Rport))
}

// forbidden reports whether what was denied is to be cut: where the class of its
// process became another since, the kernel may allow it by now, and is asked.
func (b *Backend) forbidden(kernel *bpf.Verdicts, e *bpf.VerdictEvent) bool {
	b.mu.Lock()
	s := b.live[processID(e.Id)]
	same := s == nil || s.changed <= e.Time
	b.mu.Unlock()
	if same || e.Flags&(bpf.VerdictHeld|bpf.VerdictDead|bpf.VerdictRouted) != 0 { // these no class decided
		return true
	}
	flow, found := flowOf(e), false
	err := kernel.Forbidden(func(now *bpf.VerdictEvent) {
		there := flowOf(now)
		there.Cookie = flow.Cookie // it may have had none yet
		found = found || there == flow && now.Netns == e.Netns
	})
	b.problem("look for a forbidden connection", err)
	return found || err != nil
}

// destroy ends connections of one network namespace. One that has ended by
// itself is no error.
func (b *Backend) destroy(namespace uint32, events []bpf.VerdictEvent) error {
	flows := make([]cut.Flow, len(events))
	pids := make([]uint32, len(events))
	for i := range events {
		flows[i], pids[i] = flowOf(&events[i]), events[i].Id.Pid
	}
	cutter, err := cutterIn(namespace, pids)
	if err != nil {
		return err
	}
	done, err := cutter.Cut(flows)
	b.stats.cut.Add(uint64(done.Cut))
	return errors.Join(err, cutter.Close())
}

func cutterIn(namespace uint32, pids []uint32) (*cut.Cutter, error) {
	there, err := netns.Find(uint64(namespace), pids...)
	if err != nil {
		return nil, err
	}
	if there == nil {
		return cut.Open(0)
	}
	defer there.Close()
	return cut.Open(int(there.Fd()))
}

func flowOf(e *bpf.VerdictEvent) cut.Flow {
	return cut.Flow{Proto: uint8(e.Proto), Local: netip.AddrPortFrom(netip.AddrFrom16(e.Laddr), e.Lport),
		Remote: netip.AddrPortFrom(netip.AddrFrom16(e.Raddr), e.Rport), Cookie: e.Cookie, Interface: e.Interface}
}
