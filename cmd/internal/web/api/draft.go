package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/policy/rule"
)

// Draft is the answer to /api/draft: rules as text, to be read by a person.
type Draft struct {
	Text string `json:"text"`
	File string `json:"file"` // a name to save it under
}

func (h *Handler) draft(r *http.Request) (any, error) {
	c, err := h.named(r)
	if err != nil {
		return nil, err
	}
	action, ok := map[string]event.Action{"allow": event.ActionAllow, "alert": event.ActionAlert, "deny": event.ActionDeny}[r.URL.Query().Get("action")]
	if !ok {
		return nil, wrong(fmt.Errorf("action: want allow, alert or deny"))
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	var found *event.Record
	stop := errors.New("found")
	err = db.Connections(r.Context(), query.Query{Since: c.opened, Until: c.opened.Add(1)}, func(rec event.Record) error {
		if rec.Time.Equal(c.opened) && (c.pid == 0 || rec.PID == c.pid) {
			found = &rec
			return stop
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return nil, err
	}
	if found == nil {
		return nil, &Problem{http.StatusNotFound, "The record no longer has this connection.", "How long it is kept: retention, in the configuration."}
	}
	return draftOf(found, action)
}

// draftOf writes a rule that matches what the record shows, and no more.
func draftOf(r *event.Record, action event.Action) (Draft, error) {
	drafted := rule.Rule{ID: draftID(r, action), Action: action, Mode: event.ModeEnforce, Reason: "say why", Match: rule.Match{Process: draftProcess(r)}}
	end := draftEnd(r)
	switch direction := event.Direction(0); r.Direction {
	case "out", "listen":
		drafted.Match.To = end
		if direction = event.Out; r.Direction == "listen" {
			direction = event.Listen
		}
		drafted.Match.Direction = []event.Direction{direction}
	default:
		drafted.Match.From = end
		drafted.Match.Direction = []event.Direction{event.In}
	}
	seen := fmt.Sprintf("Drafted from what %s did at %s.\nRead it before you use it, and try it against history.", r.Exe, r.Time.Local().Format(time.DateTime))
	text, err := rule.Marshal(rule.NewSet([]rule.Rule{drafted}, nil, nil, nil), rule.Comments{Head: seen})
	if err != nil {
		return Draft{}, fmt.Errorf("write draft: %w", err)
	}
	name := drafted.ID + ".yaml"
	if _, err := rule.Parse(name, text); err != nil {
		return Draft{}, &Problem{http.StatusUnprocessableEntity, "This connection cannot be written as a rule: " + err.Error(), ""}
	}
	return Draft{Text: string(text), File: name}, nil
}

// draftProcess is the program: by its path where a rule may believe that, else
// by its digest.
func draftProcess(r *event.Record) *rule.ProcessMatch {
	p := &rule.ProcessMatch{}
	digest, err := event.ParseDigest(r.SHA256)
	switch {
	case r.Exe != "" && r.ExeView == "" && r.ExeKind == "file" && !strings.Contains(r.Exe, "*"):
		p.Exe = []rule.Pattern{{Text: r.Exe, Kind: rule.PathPattern}}
	case err == nil && !digest.IsZero():
		p.SHA256 = []event.Digest{digest}
	default:
		p.Name = []rule.Pattern{{Text: r.Name, Kind: rule.WordPattern}}
	}
	if r.Script != "" && !strings.Contains(r.Script, "*") {
		p.Script = []rule.Pattern{{Text: r.Script, Kind: rule.PathPattern}}
	}
	if r.User != "" {
		p.User = []string{r.User}
	} else {
		p.UID = []rule.UIDRange{{First: r.UID, Last: r.UID}}
	}
	return p
}

// draftEnd is the other end: by its name where it has one, else its address.
func draftEnd(r *event.Record) *rule.EndpointMatch {
	e := &rule.EndpointMatch{}
	if proto := r.Proto; proto != "" {
		if proto == "mptcp" {
			proto = "tcp"
		}
		e.Proto = []string{proto}
	}
	port := r.RPort
	switch r.Direction {
	case "listen":
		port = r.LPort
	case "in":
		port = 0 // of the peer that began: another one each time
	}
	if port != 0 {
		e.Port = []rule.PortRange{{First: port, Last: port}}
	}
	if r.Direction == "listen" {
		return e
	}
	if h, err := rule.ParseHost(r.Domain); err == nil && r.Domain != "" && h.Kind == rule.HostName {
		e.Host = []rule.Host{h}
	} else if a, err := netip.ParseAddr(r.RAddr); err == nil {
		e.Host = []rule.Host{{Kind: rule.HostNet, Net: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}}
	}
	return e
}

// draftID is short, and made of letters that an id may have.
func draftID(r *event.Record, action event.Action) string {
	target := r.Domain
	if target == "" {
		target = r.RAddr
	}
	if r.Direction == "listen" {
		target = fmt.Sprintf("port-%d", r.LPort)
	}
	id := strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, path.Base("/"+r.Exe)+"-"+target), "-._")
	return action.String() + "-" + strings.Trim(id[:min(len(id), 56)], "-._")
}
