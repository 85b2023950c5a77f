package api

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"snitch/cmd/internal/text"
	"snitch/monitor/store/query"
)

// Bounds of parameters.
const (
	maxRows     = 1000
	defaultRows = 100
)

// params reads the parameters of one request. The first fault stays in err.
type params struct {
	values url.Values
	now    time.Time
	err    error
}

func read(v url.Values) *params { return &params{values: v, now: time.Now()} }

func (p *params) fail(name string, err error) {
	if p.err == nil {
		p.err = wrong(fmt.Errorf("%s: %w", name, err))
	}
}

// span is the range of time: "last" (a duration until now, or "all"), or
// "since" and "until" (RFC 3339, or milliseconds since 1970).
func (p *params) span() (since, until time.Time) {
	if last := p.values.Get("last"); last != "" {
		if last == "all" {
			return time.Time{}, time.Time{}
		}
		d, err := text.ParseDuration(last)
		if err != nil {
			p.fail("last", err)
		}
		return p.now.Add(-d), p.now
	}
	since, until = p.moment("since"), p.moment("until")
	if !until.IsZero() && !since.Before(until) {
		p.fail("until", fmt.Errorf("it is not after since"))
	}
	return since, until
}

func (p *params) moment(name string) time.Time {
	s := p.values.Get(name)
	if s == "" {
		return time.Time{}
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		p.fail(name, fmt.Errorf("%q is no time", clip(s)))
	}
	return t
}

// filters are the "f" parameters, in the language of `snitch log`.
func (p *params) filters() query.Filters {
	f, err := query.Parse(p.values["f"])
	if err != nil && p.err == nil {
		p.err = err
	}
	return f
}

// number is a whole number from 0 to most.
func (p *params) number(name string, otherwise, most int) int {
	s := p.values.Get(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most {
		p.fail(name, fmt.Errorf("%q is no number from 0 to %d", clip(s), most))
	}
	return n
}

// flag is true for "1" and "true".
func (p *params) flag(name string) bool {
	s := p.values.Get(name)
	if s == "" {
		return false
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		p.fail(name, fmt.Errorf("%q is neither true nor false", clip(s)))
	}
	return b
}

// clip bounds what a stranger wrote.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
