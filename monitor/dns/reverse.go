package dns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

const (
	reverseLife    = time.Hour
	reverseTimeout = 10 * time.Second
)

// Reverser asks for the name of an address. The daemon itself sends no query:
// its Reverser is a helper process without privileges (NewReverseClient).
type Reverser interface {
	// Reverse returns "" when there is no name, and an error only when it cannot
	// be asked any more. It is called from one goroutine.
	Reverse(ctx context.Context, addr netip.Addr) (string, error)
}

// reversed is the answer for an address; the domain is "" while it is awaited
// and when there is none.
type reversed struct {
	domain string
	at     time.Time
}

// askReverse puts addr in the queue, unless it is known, asked for already or
// can have no public name. It never waits.
func (n *Names) askReverse(addr netip.Addr, now time.Time) {
	if n.reverser == nil || !addr.IsGlobalUnicast() {
		return
	}
	if _, known := n.reversed.get(addr); known {
		return
	}
	select {
	case n.asks <- addr:
		n.stats.ReverseAsked++
		n.reversed.put(addr, reversed{}, now)
	default:
		n.stats.ReverseDropped++
	}
}

func (n *Names) answerReverse(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case addr := <-n.asks:
			if err := n.reverse(ctx, addr); err != nil && ctx.Err() == nil {
				n.log.Warn("reverse names are off", "error", err)
				return
			}
		}
	}
}

func (n *Names) reverse(ctx context.Context, addr netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, reverseTimeout)
	defer cancel()
	name, err := n.reverser.Reverse(ctx, addr)
	if err != nil {
		return fmt.Errorf("ask for the name of %s: %w", addr, err)
	}
	name, ok := normalise(name)
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	n.reversed.put(addr, reversed{name, now}, now)
	n.notify(addr)
	return nil
}

// maxReverseLine bounds a line of the helper's protocol: address, space, name.
const maxReverseLine = 512

// reverseClient asks a helper that runs ReverseHelper, one address at a time.
type reverseClient struct {
	rw    io.ReadWriteCloser
	lines *bufio.Reader
}

// NewReverseClient speaks to ReverseHelper over rw. It closes rw when a context
// ends while it waits, and is of no more use then: a helper that does not answer
// in time is broken, and its late answer would be taken for another's.
func NewReverseClient(rw io.ReadWriteCloser) Reverser {
	return &reverseClient{rw, bufio.NewReaderSize(rw, maxReverseLine)}
}

func (c *reverseClient) Reverse(ctx context.Context, addr netip.Addr) (string, error) {
	stop := context.AfterFunc(ctx, func() { c.rw.Close() })
	defer stop()
	if _, err := fmt.Fprintln(c.rw, addr); err != nil {
		return "", fmt.Errorf("write to reverse helper: %w", err)
	}
	line, err := c.lines.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("read from reverse helper: %w", err)
	}
	asked, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
	if !ok || asked != addr.String() {
		return "", errors.New("reverse helper answers out of turn")
	}
	return name, nil
}
