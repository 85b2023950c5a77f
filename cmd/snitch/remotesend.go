package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/metrics"
	"snitch/monitor/export/remote"
	"snitch/monitor/store"
)

// outside is what of the daemon reaches beyond the host, and is read from there.
type outside struct {
	outbox          *store.Outbox     // nil: nothing leaves the host
	forwarder       *remote.Forwarder // likewise
	meter           *metrics.Meter
	metricsListener net.Listener // nil: off
}

// runOutside begins what is on.
func (d *daemon) runOutside(ctx context.Context, g *errgroup.Group) {
	if d.forwarder != nil {
		g.Go(func() error { return d.forwarder.Run(ctx) })
	}
	if d.metricsListener != nil {
		g.Go(func() error { return d.meter.Serve(ctx, d.metricsListener) })
	}
}

// openRemote prepares sending the record to another host; it begins with run.
func (d *daemon) openRemote(context.Context) error {
	if d.cfg.Remote.URL == "" {
		return nil
	}
	access, err := remoteAccess(d.cfg.Remote)
	if err != nil {
		return usageError(fmt.Errorf("configuration: %w", err), "see docs/remote-sql.md; try it with 'snitch remote check'")
	}
	host, err := remoteHost(d.cfg.Remote)
	if err != nil {
		return err
	}
	session := d.broker.Session(broker.RemoteSQL)
	d.outbox = &store.Outbox{Pack: remote.NewPacker(host), MaxBytes: spoolBytes(d.cfg), Ready: func() { d.forwarder.Wake() }}
	d.forwarder = remote.NewForwarder(*access, remote.Deps{Outbox: d, Log: d.log.With("component", "remote"),
		Talk: func(ctx context.Context, use func(net.Conn) error) error {
			return session.Do(ctx, func(h *broker.Helper) error { return use(h) })
		}})
	if access.Plain && access.Socket == "" {
		d.log.Warn("the record goes to another host without encryption", "server", access.Address.String())
	}
	return nil
}

// spoolBytes is remote.spool, but no more than half of what the database may
// have: the record itself goes first.
func spoolBytes(cfg config.Config) int64 {
	if cfg.Retention.Size == 0 {
		return cfg.Remote.Spool
	}
	return min(cfg.Remote.Spool, cfg.Retention.Size/2)
}

// NextParcel and the others make the daemon the outbox of its forwarder, which
// is made before the store.
func (d *daemon) NextParcel(ctx context.Context) (store.Parcel, bool, error) {
	return d.store.NextParcel(ctx)
}

// ParcelArrived removes a parcel that the server has.
func (d *daemon) ParcelArrived(p *store.Parcel) error { return d.store.ParcelArrived(p) }

// ParcelUnreadable removes one that nobody can read.
func (d *daemon) ParcelUnreadable(p *store.Parcel) error { return d.store.ParcelUnreadable(p) }

// remoteHost is the name of this host in the remote record.
func remoteHost(r config.Remote) (string, error) {
	if r.Host != "" {
		return r.Host, nil
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "", errorWithHint(errors.Join(errors.New("this host has no name"), err), "set remote.host in the configuration")
	}
	return name, nil
}

// remoteAccess reads all that is needed to enter the server.
func remoteAccess(r config.Remote) (*remote.Access, error) {
	address, err := remote.ParseAddress(r.URL)
	if err != nil {
		return nil, fmt.Errorf("remote.url %w", err)
	}
	a := &remote.Access{Address: address, Plain: r.TLS == config.TLSOff}
	if (r.CertFile == "") != (r.KeyFile == "") {
		return nil, errors.New("remote.cert_file and remote.key_file belong together")
	}
	var password []byte
	for _, f := range []struct {
		key, file string
		read      func(string) ([]byte, error)
		to        *[]byte
	}{
		{"remote.password_file", r.PasswordFile, config.ReadSecret, &password},
		{"remote.ca_file", r.CAFile, config.ReadTrusted, &a.CA},
		{"remote.cert_file", r.CertFile, config.ReadTrusted, &a.Cert},
		{"remote.key_file", r.KeyFile, config.ReadSecret, &a.Key},
	} {
		if f.file == "" {
			continue
		}
		if *f.to, err = f.read(f.file); err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		if len(*f.to) == 0 {
			return nil, fmt.Errorf("%s: %s is empty", f.key, f.file)
		}
	}
	a.Password = string(bytes.TrimRight(password, "\r\n"))
	return a, nil
}

// remoteStatus is nil when nothing is sent.
func (d *daemon) remoteStatus() *control.Remote {
	if d.forwarder == nil {
		return nil
	}
	f, o := d.forwarder.Stats(), d.store.Stats().Outbox
	r := &control.Remote{Server: d.forwarder.Server(), Parcels: f.Parcels, Rows: f.Rows, Repeated: f.Repeated, Failed: f.Failed, LastArrival: f.LastArrival,
		Problem: f.Problem, Waiting: o.Rows, WaitingBytes: o.Bytes, Oldest: o.Oldest, Dropped: o.Dropped, Spool: uint64(d.outbox.MaxBytes)}
	if !o.Oldest.IsZero() {
		r.Behind = max(0, time.Since(o.Oldest).Seconds())
	}
	return r
}
