package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// activated is the socket that systemd passed, nil where it passed none. It is
// a unix socket: there the kernel says who asks, and nobody reads a token out of
// the journal.
func activated() (net.Listener, error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take systemd's socket: %w", err)
	}
	if len(listeners) == 0 {
		return nil, nil
	}
	l, ok := listeners[0].(*net.UnixListener)
	if !ok || len(listeners) > 1 {
		for _, l := range listeners {
			if l != nil {
				err = errors.Join(err, l.Close())
			}
		}
		return nil, errors.Join(usageError(errors.New("systemd passed something else than one unix socket"), "have one ListenStream=/run/… in snitch-web.socket"), err)
	}
	l.SetUnlinkOnClose(false) // it is systemd's
	return l, nil
}
