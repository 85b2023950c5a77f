package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxRecords = 256 // records of one answer that are read
	maxChain   = 16  // CNAME and SVCB aliases followed
	maxTTL     = 7 * 24 * 3600
)

var (
	errNotQuestion = errors.New("not one question of the standard kind")
	errBadName     = errors.New("name is no host name")
)

// question is what pairs an answer with its query.
type question struct {
	id    uint16
	name  string // as normalise spells it
	typ   dnsmessage.Type
	class dnsmessage.Class
}

// address is one address of the queried name. ttl is the smallest of the chain, in seconds.
type address struct {
	addr netip.Addr
	ttl  uint32
}

// answer is what a DNS answer says about the name that was queried.
type answer struct {
	question
	addrs   []address
	partial bool // cut by the server or by the capture
	foreign int  // records that do not belong to the queried name
}

// record is one resource record of the answer section.
type record struct {
	owner, target string // target: CNAME, SVCB alias
	addrs         []netip.Addr
	addr          netip.Addr
	ttl           uint32
}

// parseQuery reads a query: one question, class IN.
func parseQuery(msg []byte) (question, error) {
	_, q, _, err := start(msg, false)
	return q, err
}

// parseQuestion reads the question of an answer, which is enough to find its query.
func parseQuestion(msg []byte) (question, error) {
	_, q, _, err := start(msg, true)
	return q, err
}

func start(msg []byte, response bool) (p dnsmessage.Parser, q question, h dnsmessage.Header, err error) {
	if h, err = p.Start(msg); err != nil {
		return p, q, h, fmt.Errorf("read header: %w", err)
	}
	if h.Response != response || h.OpCode != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return p, q, h, errNotQuestion
	}
	d, err := p.Question()
	if err != nil {
		return p, q, h, fmt.Errorf("read question: %w", err)
	}
	if d.Class != dnsmessage.ClassINET {
		return p, q, h, errNotQuestion
	}
	name, ok := normalise(d.Name.String())
	if !ok {
		return p, q, h, errBadName
	}
	if err := p.SkipAllQuestions(); err != nil {
		return p, q, h, fmt.Errorf("skip questions: %w", err)
	}
	return p, question{id: h.ID, name: name, typ: d.Type, class: d.Class}, h, nil
}

// parseAnswer reads the answer section and keeps the addresses that belong to
// the queried name, over aliases if need be. cut says that the end of msg is
// missing; a message that is cut there or by its server (TC) gives what it has,
// any other that breaks off is refused whole. The authority and additional
// sections are never read: a stub resolver does not believe them either.
func parseAnswer(msg []byte, cut bool) (answer, error) {
	p, q, h, err := start(msg, true)
	if err != nil {
		return answer{}, err
	}
	a := answer{question: q, partial: cut || h.Truncated}
	if h.RCode != dnsmessage.RCodeSuccess {
		return a, nil
	}
	records, err := readRecords(&p, q.typ)
	if err != nil && !a.partial {
		return answer{}, err
	}
	a.collect(records, []string{q.name})
	return a, nil
}

// readRecords reads the answer section, also in part: what it has is returned
// beside the error.
func readRecords(p *dnsmessage.Parser, want dnsmessage.Type) ([]record, error) {
	records := make([]record, 0, 8)
	for range maxRecords {
		r, ok, err := nextRecord(p, want)
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return records, fmt.Errorf("read answer: %w", err)
		}
		if ok {
			records = append(records, r)
		}
	}
	return records, nil
}

// nextRecord reads one record; ok is false for those that say nothing about an
// address of a question of type want.
func nextRecord(p *dnsmessage.Parser, want dnsmessage.Type) (r record, ok bool, err error) {
	h, err := p.AnswerHeader()
	if err != nil {
		return r, false, err
	}
	name, valid := normalise(h.Name.String())
	r.owner, r.ttl = name, min(h.TTL, maxTTL)
	wanted := h.Type == want || want == dnsmessage.TypeALL
	switch {
	case !valid || h.Class != dnsmessage.ClassINET:
		return r, false, p.SkipAnswer()
	case h.Type == dnsmessage.TypeCNAME:
		c, err := p.CNAMEResource()
		if err != nil {
			return r, false, err
		}
		r.target, valid = normalise(c.CNAME.String())
		return r, valid, nil
	case h.Type == dnsmessage.TypeA && wanted:
		d, err := p.AResource()
		r.addr = netip.AddrFrom4(d.A)
		return r, err == nil, err
	case h.Type == dnsmessage.TypeAAAA && wanted:
		d, err := p.AAAAResource()
		r.addr = netip.AddrFrom16(d.AAAA).Unmap()
		return r, err == nil, err
	case (h.Type == dnsmessage.TypeHTTPS || h.Type == dnsmessage.TypeSVCB) && wanted:
		return serviceRecord(p, r, h.Type)
	}
	return r, false, p.SkipAnswer()
}

// serviceRecord reads the address hints of SVCB and HTTPS (RFC 9460). A record
// with malformed parameters is skipped, as its section 2.2 asks for.
func serviceRecord(p *dnsmessage.Parser, r record, t dnsmessage.Type) (record, bool, error) {
	var s dnsmessage.SVCBResource
	var err error
	if t == dnsmessage.TypeHTTPS {
		var h dnsmessage.HTTPSResource
		h, err = p.HTTPSResource()
		s = h.SVCBResource
	} else {
		s, err = p.SVCBResource()
	}
	if err != nil {
		return r, false, p.SkipAnswer()
	}
	if s.Priority == 0 { // AliasMode
		var ok bool
		r.target, ok = normalise(s.Target.String())
		return r, ok, nil
	}
	if v, ok := s.GetParam(dnsmessage.SVCParamIPv4Hint); ok {
		for ; len(v) >= 4; v = v[4:] {
			r.addrs = append(r.addrs, netip.AddrFrom4([4]byte(v)))
		}
	}
	if v, ok := s.GetParam(dnsmessage.SVCParamIPv6Hint); ok {
		for ; len(v) >= 16; v = v[16:] {
			r.addrs = append(r.addrs, netip.AddrFrom16([16]byte(v)).Unmap())
		}
	}
	return r, len(r.addrs) > 0, nil
}

// collect follows the aliases from names and takes the addresses found on the
// way. Records of other owners are counted and ignored: an answer may not speak
// about names that were not asked for.
func (a *answer) collect(records []record, names []string) {
	ttl := uint32(maxTTL)
	used := 0
	for step := 0; len(names) > 0 && step < maxChain; step++ {
		var next []string
		for i := range records {
			r := &records[i]
			if r.owner == "" || !slices.Contains(names, r.owner) {
				continue
			}
			r.owner = "" // taken: a loop of aliases ends here
			used++
			if r.target != "" {
				ttl = min(ttl, r.ttl)
				next = append(next, r.target)
				continue
			}
			if r.addr.IsValid() {
				a.addrs = append(a.addrs, address{r.addr, min(ttl, r.ttl)})
			}
			for _, addr := range r.addrs {
				if len(a.addrs) < maxRecords {
					a.addrs = append(a.addrs, address{addr, min(ttl, r.ttl)})
				}
			}
		}
		names = next
	}
	a.foreign = len(records) - used
}
