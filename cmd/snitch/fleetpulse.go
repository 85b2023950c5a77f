package main

import (
	"strings"
	"sync"
	"time"

	"snitch/monitor/event"
)

// Bounds of an alertPulse.
const (
	pulseForget = 10 * time.Minute // after which the same alert counts again
	pulseKeys   = 4096
)

// alertPulse counts alerts as a person would: of a rule about a program, however
// often it connects, one. It is safe for concurrent use.
type alertPulse struct {
	mu     sync.Mutex
	recent map[event.AlertKey]time.Time
	alerts uint64
	errors uint64
}

func newAlertPulse() *alertPulse { return &alertPulse{recent: map[event.AlertKey]time.Time{}} }

// note takes what the engine raised. Nil notes nothing.
func (p *alertPulse) note(raised []event.Alert) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range raised {
		a := &raised[i]
		switch {
		case a.Kind == event.AlertRule || a.Kind == event.AlertNovelty:
			p.count(a)
		case a.Kind == event.AlertError && strings.HasPrefix(a.Rule, "custom."):
			p.errors++
		}
	}
}

func (p *alertPulse) count(a *event.Alert) {
	key, now := a.Key(), a.Last
	if last, known := p.recent[key]; known && now.Sub(last) < pulseForget {
		p.recent[key] = now
		return
	}
	if len(p.recent) >= pulseKeys {
		for k, last := range p.recent {
			if now.Sub(last) >= pulseForget {
				delete(p.recent, k)
			}
		}
	}
	if len(p.recent) < pulseKeys { // else each counts: so many are a jump in any case
		p.recent[key] = now
	}
	p.alerts++
}

func (p *alertPulse) counts() (alerts, errors uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alerts, p.errors
}
