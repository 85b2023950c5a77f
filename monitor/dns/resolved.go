package dns

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

const (
	maxVarlink = 256 << 10 // bytes of one message of resolved
	subscribe  = `{"method":"io.systemd.Resolve.Monitor.SubscribeQueryResults","more":true}` + "\x00"
)

// followResolved keeps a subscription to systemd-resolved's monitor. A host
// without resolved is normal: it is said in Stats, not logged again and again.
func (n *Names) followResolved(ctx context.Context) {
	b := backoff{first: time.Second, most: time.Minute}
	for {
		err := n.subscribeResolved(ctx, b.reset)
		if ctx.Err() != nil {
			return
		}
		n.setResolved(err.Error())
		n.log.Debug("resolved monitor ended", "error", err)
		if !b.wait(ctx) {
			return
		}
	}
}

func (n *Names) setResolved(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Resolved = state
}

// subscribeResolved follows one connection to its end; connected is called when
// resolved has accepted the subscription.
func (n *Names) subscribeResolved(ctx context.Context, connected func()) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", n.cfg.ResolvedSocket)
	if err != nil {
		return fmt.Errorf("connect to systemd-resolved: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, subscribe); err != nil {
		return fmt.Errorf("subscribe to systemd-resolved: %w", err)
	}
	r := bufio.NewReaderSize(conn, 8<<10)
	for {
		msg, err := readVarlink(r, maxVarlink)
		if errors.Is(err, errTooLong) {
			n.resolvedBad()
			continue
		}
		if err != nil {
			return fmt.Errorf("read from systemd-resolved: %w", err)
		}
		if err := n.resolvedMessage(msg, connected); err != nil {
			return err
		}
	}
}

var errTooLong = errors.New("message too long")

// readVarlink reads up to the NUL that ends a message and drops it; one that is
// longer than limit is skipped with errTooLong.
func readVarlink(r *bufio.Reader, limit int) ([]byte, error) {
	var msg []byte
	skip := false
	for {
		part, err := r.ReadSlice(0)
		if len(msg)+len(part) <= limit+1 {
			msg = append(msg, part...)
		} else {
			skip, msg = true, nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		case skip:
			return nil, errTooLong
		}
		return msg[:len(msg)-1], nil
	}
}

// varlinkReply is what SubscribeQueryResults sends, as far as it is used.
type varlinkReply struct {
	Error      string `json:"error"`
	Continues  bool   `json:"continues"`
	Parameters struct {
		Ready     bool           `json:"ready"`
		State     string         `json:"state"`
		Question  []resourceKey  `json:"question"`
		Collected []resourceKey  `json:"collectedQuestions"` // asked before, along the chain of aliases
		Answer    []resolvedItem `json:"answer"`
	} `json:"parameters"`
}

type resourceKey struct {
	Class int    `json:"class"`
	Type  int    `json:"type"`
	Name  string `json:"name"`
}

type resolvedItem struct {
	Raw string `json:"raw"` // resource record in wire format, base64
}

func (n *Names) resolvedBad() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.ResolvedBad++
}

// resolvedMessage returns an error when the subscription is over.
func (n *Names) resolvedMessage(msg []byte, connected func()) error {
	var reply varlinkReply
	if err := json.Unmarshal(msg, &reply); err != nil {
		n.resolvedBad()
		return nil
	}
	if reply.Error != "" {
		return fmt.Errorf("systemd-resolved refused the subscription: %.200q", reply.Error)
	}
	if reply.Parameters.Ready {
		connected()
		n.setResolved("connected")
	}
	if reply.Parameters.State == "success" {
		n.learnResolved(&reply)
	}
	if !reply.Continues {
		return errors.New("systemd-resolved ended the subscription")
	}
	return nil
}

// learnResolved believes one answer. The name is the first of the chain that
// resolved followed: that is what the program asked for.
func (n *Names) learnResolved(reply *varlinkReply) {
	a, err := resolvedAnswer(reply)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.stats.ResolvedBad++
		return
	}
	n.stats.ResolvedAnswers++
	n.stats.Foreign += uint64(a.foreign)
	f := fact{domain: a.name, learned: n.now()}
	// resolved does not say whether LLMNR or mDNS answered, which every host of
	// the local network may do.
	f.configured = strings.Contains(f.domain, ".") && !strings.HasSuffix(f.domain, ".local")
	for _, d := range a.addrs {
		f.expires = f.learned.Add(seconds(d.ttl))
		n.learn(scope{source: event.NameResolved}, d.addr, f)
	}
}

// resolvedAnswer puts the records together to one DNS message, so that one
// parser reads them all.
func resolvedAnswer(reply *varlinkReply) (answer, error) {
	var names []string // queried names, the first is the program's
	for _, list := range [][]resourceKey{reply.Parameters.Collected, reply.Parameters.Question} {
		for _, k := range list {
			if name, ok := normalise(k.Name); ok && len(names) < maxChain {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return answer{}, errBadName
	}
	items := reply.Parameters.Answer
	items = items[:min(len(items), maxRecords)]
	var msg bytes.Buffer
	msg.Write(make([]byte, headerLen))
	for _, item := range items {
		raw, err := base64.StdEncoding.DecodeString(item.Raw)
		if err != nil {
			return answer{}, fmt.Errorf("decode record: %w", err)
		}
		msg.Write(raw)
	}
	binary.BigEndian.PutUint16(msg.Bytes()[6:], uint16(len(items)))
	var p dnsmessage.Parser
	if _, err := p.Start(msg.Bytes()); err != nil {
		return answer{}, fmt.Errorf("read records: %w", err)
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{}, fmt.Errorf("read records: %w", err)
	}
	a := answer{question: question{name: names[0], typ: dnsmessage.TypeALL}}
	records, err := readRecords(&p, a.typ)
	if err != nil {
		return answer{}, err
	}
	a.collect(records, names)
	return a, nil
}
