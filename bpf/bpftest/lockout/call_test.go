//go:build vm

package lockout

import (
	"bytes"
	"net/netip"
	"time"
)

// call is a connection from outside to the machine. For one goroutine.
type call struct {
	o        *outside
	from, to netip.AddrPort
	seq, ack uint32
	in       chan segment
	got      []byte // that is not a whole line yet
}

// nextPort is of the callers: none is used twice, lest an old connection answers.
var nextPort uint16 = 20000

// sendAgain is how often what got no answer is said again.
const sendAgain = time.Second

// call connects from outside, or returns nil when nobody answers in time.
func (o *outside) call(from netip.Addr, port uint16, within time.Duration) *call {
	nextPort++
	c := &call{o: o, from: netip.AddrPortFrom(from, nextPort), to: netip.AddrPortFrom(machine, port), seq: 1000, in: make(chan segment, 64)}
	o.mu.Lock()
	o.calls[c.from] = c
	o.mu.Unlock()
	answered := c.exchange(&segment{flags: flagSYN}, within, func(s *segment) bool { return s.flags == flagSYN|flagACK && s.ack == c.seq+1 }, func(s *segment) {
		c.seq, c.ack = c.seq+1, s.seq+1
		c.send(&segment{flags: flagACK})
	})
	if !answered {
		c.hangUp()
		return nil
	}
	return c
}

// say sends a line and returns the line that comes back, if it comes in time.
func (c *call) say(line string, within time.Duration) (string, bool) {
	line += "\n"
	answered := c.exchange(&segment{flags: flagPSH | flagACK, payload: []byte(line)}, within, func(s *segment) bool {
		if s.flags&flagRST != 0 {
			return false
		}
		if s.seq == c.ack {
			c.got = append(c.got, s.payload...)
			c.ack += uint32(len(s.payload))
		}
		if len(s.payload) > 0 { // also what came before
			c.o.send(&segment{from: c.from, to: c.to, seq: c.seq + uint32(len(line)), ack: c.ack, flags: flagACK})
		}
		return bytes.ContainsRune(c.got, '\n')
	}, func(*segment) { c.seq += uint32(len(line)) })
	if !answered {
		return "", false
	}
	answer, rest, _ := bytes.Cut(c.got, []byte("\n"))
	c.got = rest
	return string(answer), true
}

// exchange sends until an answer is what is waited for, and then does what
// follows from it.
func (c *call) exchange(s *segment, within time.Duration, wanted func(*segment) bool, then func(*segment)) bool {
	deadline, again := time.After(within), time.NewTicker(sendAgain)
	defer again.Stop()
	c.send(s)
	for {
		select {
		case answer := <-c.in:
			if wanted(&answer) {
				then(&answer)
				return true
			}
		case <-again.C:
			c.send(s)
		case <-deadline:
			return false
		}
	}
}

func (c *call) send(s *segment) {
	s.from, s.to, s.seq, s.ack = c.from, c.to, c.seq, c.ack
	c.o.send(s)
}

// hangUp forgets the connection; the machine is told.
func (c *call) hangUp() {
	c.o.mu.Lock()
	delete(c.o.calls, c.from)
	c.o.mu.Unlock()
	c.send(&segment{flags: flagRST | flagACK})
}
