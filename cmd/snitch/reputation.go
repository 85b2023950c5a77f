package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/policy/reputation"
)

// verdictsFile is where in the state directory the verdicts of VirusTotal are.
const verdictsFile = "reputation.json"

// Rules of alerts about verdicts.
const (
	ruleVerdict = "virustotal"
	ruleKey     = "virustotal.key"
)

// openReputation prepares asking VirusTotal, if there is a key. Asking is the work
// of a helper without privileges.
func (d *daemon) openReputation(context.Context) error {
	c := d.cfg.VirusTotal
	if c.Key == "" {
		return nil
	}
	server, err := virusTotalServer(c)
	if err != nil {
		return usageError(fmt.Errorf("configuration: virustotal: %w", err), "mend the configuration, or the file")
	}
	session := d.broker.Session(broker.Reputation)
	d.closers = append(d.closers, func() error { session.Close(); return nil })
	var last *broker.Helper
	d.reputation = reputation.New(reputation.Config{Server: server, File: filepath.Join(d.state.path, verdictsFile), Interval: c.Interval, Upload: c.Upload, MaxUpload: c.MaxUpload},
		reputation.Deps{Log: d.log.With("component", "reputation"), Learned: d.learned, Refused: d.keyRefused,
			Speak: func(ctx context.Context, use func(io.ReadWriteCloser, bool) error) error {
				return session.Do(ctx, func(h *broker.Helper) error {
					fresh := h != last
					last = h
					return use(h, fresh)
				})
			}})
	return nil
}

func virusTotalServer(c config.VirusTotal) (reputation.Server, error) {
	key, err := config.ReadSecret(c.Key)
	if err != nil {
		return reputation.Server{}, fmt.Errorf("key: %w", err)
	}
	s := reputation.Server{URL: c.URL, Key: strings.TrimSpace(string(key))}
	if s.Key == "" || strings.ContainsAny(s.Key, " \t\r\n") || len(s.Key) > 256 {
		return s, errors.New("key: the file holds no key, which is one word")
	}
	if c.CA != "" {
		if s.CA, err = config.ReadTrusted(c.CA); err != nil {
			return s, fmt.Errorf("ca: %w", err)
		}
	}
	return s, nil
}

// look asks about the programs of connections and those that started them.
func (d *daemon) look(rows []event.Connection) {
	if d.reputation == nil {
		return
	}
	for i := range rows {
		for p, n := rows[i].Process, 0; p != nil && n < 3; p, n = p.Parent, n+1 {
			d.reputation.Look(p)
		}
	}
}

// Reputation implements process.Judge. Rules that ask for it see nothing until
// there is an answer.
func (d *daemon) Reputation(sha event.Digest) event.Reputation {
	if d.reputation == nil {
		return event.ReputationUnasked
	}
	return d.reputation.Of(sha).Verdict
}

// learned tells those who run the file, so that what they have open is decided
// again, and raises an alert about a program that engines call bad.
func (d *daemon) learned(v reputation.Answer, p *event.Process) {
	d.table.Judged(v.SHA256)
	if !v.Verdict.Bad() {
		return
	}
	now := time.Now()
	a := event.NewAlert(event.AlertRule, ruleVerdict, event.ActionAlert, v.String(), now, &event.Connection{Process: p, UID: p.UID, User: p.User, Opened: now})
	a.Direction, a.Proto = "", ""
	d.raise(d.filter.Alerts([]event.Alert{a})[0])
}

func (d *daemon) keyRefused(why string) {
	d.raise(event.NewAlert(event.AlertError, ruleKey, event.ActionNone, "VirusTotal does not take the key: "+why, time.Now(), nil))
}

// reputationStatus is nil when nothing is asked.
func (d *daemon) reputationStatus() *control.Reputation {
	if d.reputation == nil {
		return nil
	}
	s := d.reputation.Stats()
	return &control.Reputation{Known: s.Known, Waiting: s.Waiting, Asked: s.Asked, Uploaded: s.Uploaded, Dropped: s.Dropped, Failed: s.Failed, Error: s.Error}
}

// verdict is what VirusTotal said of a file; false when it is not asked.
func (d *daemon) verdict(sha event.Digest) (control.Verdict, bool) {
	if d.reputation == nil {
		return control.Verdict{}, false
	}
	a := d.reputation.Of(sha)
	return control.Verdict{Verdict: a.Verdict.String(), Malicious: a.Malicious, Suspicious: a.Suspicious, Engines: a.Engines, At: a.At}, true
}

// prefixed is s behind before, "" when there is none.
func prefixed(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}
