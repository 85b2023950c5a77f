package main

import (
	"context"
	"errors"
	"net/netip"

	"snitch/cmd/internal/broker"
	"snitch/monitor/dns"
)

// reverser asks a helper without privileges for names of addresses. It starts
// one when it is first needed, and another when that one ended. One goroutine
// uses it.
type reverser struct {
	session *broker.Session
	helper  *broker.Helper // that client speaks to
	client  dns.Reverser
}

// Reverse returns "" while no helper runs; it fails when none can run any more.
func (r *reverser) Reverse(ctx context.Context, addr netip.Addr) (string, error) {
	var name string
	err := r.session.Do(ctx, func(h *broker.Helper) (err error) {
		if r.helper != h {
			r.helper, r.client = h, dns.NewReverseClient(h)
		}
		name, err = r.client.Reverse(ctx, addr)
		return err
	})
	if errors.Is(err, broker.ErrGone) {
		return "", err
	}
	return name, nil // the session logged it and rests
}
