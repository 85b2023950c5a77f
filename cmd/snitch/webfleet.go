package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/cmd/internal/web"
	"snitch/cmd/internal/web/api"
	"snitch/monitor/event"
	"snitch/monitor/export/remote"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// fleetOptions are the flags that name a server with the record of several hosts.
type fleetOptions struct {
	URL          string
	PasswordFile string
	CAFile       string
	Plain        bool
	Window       string
}

// passwordVariable holds the password of --db where no file does.
const passwordVariable = "SNITCH_DB_PASSWORD"

// fleetBytes bounds the copy on disk.
const fleetBytes = 4 << 30

func (o *fleetOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.URL, "db", "", "`URL` of a server that hosts send their record to: show all of them")
	f.StringVar(&o.PasswordFile, "db-password-file", "", "file with its password, or credential:NAME; else "+passwordVariable)
	f.StringVar(&o.CAFile, "db-ca-file", "", "certificate authorities of its certificate; else those of the system")
	f.BoolVar(&o.Plain, "db-plain", false, "do not encrypt the connection to it")
	f.StringVar(&o.Window, "db-window", "7d", "how far back")
}

// access reads all that is needed to enter the server.
func (o *fleetOptions) access() (*remote.Access, time.Duration, error) {
	hint := "see docs/remote-sql.md"
	window, err := text.ParseDuration(o.Window)
	if err != nil || window < time.Minute {
		return nil, 0, usageError(errors.Join(fmt.Errorf("--db-window %q is no time to look back", o.Window), err), "write 1d, 7d, 30d")
	}
	tls := ""
	if o.Plain {
		tls = config.TLSOff
	}
	a, err := remoteAccess(config.Remote{URL: o.URL, TLS: tls, PasswordFile: o.PasswordFile, CAFile: o.CAFile})
	if err != nil {
		return nil, 0, usageError(fmt.Errorf("--db: %w", err), hint)
	}
	if o.PasswordFile == "" {
		a.Password = os.Getenv(passwordVariable)
	}
	return a, window, os.Unsetenv(passwordVariable)
}

// runFleet serves the record of several hosts, from a copy that ends with us.
func runFleet(ctx context.Context, io stdio, opts WebOptions) (err error) {
	if opts.Database != "" {
		return usageError(errors.New("--db and --database name two records"), "leave one of them away")
	}
	l, err := opts.listen()
	if err != nil {
		return err
	}
	defer l.Close()
	access, window, err := opts.Fleet.access()
	if err != nil {
		return err
	}
	if err := unrootNow(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "snitch-fleet-")
	if err != nil {
		return fmt.Errorf("make room for the copy: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	mirror, err := remote.OpenMirror(ctx, access, remote.MirrorConfig{Dir: dir, Window: window, MaxBytes: fleetBytes, Log: log})
	if err != nil {
		return usageError(fmt.Errorf("open the record of the fleet: %w", err), "see docs/remote-sql.md")
	}
	defer func() { err = errors.Join(err, mirror.Close()) }()
	source := &fleetDB{path: filepath.Join(dir, schema.FileName), mirror: mirror}
	defer source.Close()
	door, announce := opts.door(io, l)
	tables := opts.State
	if unix.Access(tables, unix.X_OK) != nil {
		tables = dir // this host's own are not for us: the binary has one
	}
	places, err := newWebPlaces(tables, log)
	if err != nil {
		return err
	}
	server, err := web.New(web.Config{Gate: door, Feed: elsewhere{}, Version: version, Log: log, Fleet: true,
		API: api.Config{DB: source.get, Daemon: elsewhere{}, Judge: elsewhere{}, Places: places, Log: log, Fleet: source.status}})
	if err != nil {
		return err
	}
	if err := announce(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return mirror.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx, l) })
	return g.Wait()
}

// unrootNow gives root up: what comes from the network is not read by it.
func unrootNow() error {
	if os.Geteuid() != 0 {
		return nil
	}
	who := helperUser()
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(int(who.GID)), syscall.Setuid(int(who.UID))); err != nil {
		return fmt.Errorf("give up root: %w", err)
	}
	return nil
}

// fleetDB opens the copy once it is whole. It is safe for concurrent use.
type fleetDB struct {
	webDB
	path   string
	mirror *remote.Mirror
}

func (f *fleetDB) get(ctx context.Context) (*query.DB, error) {
	st := f.mirror.Status()
	if st.Read.IsZero() {
		hint := fmt.Sprintf("%s were read until now.", text.Plural(st.Rows, "row"))
		if st.Problem != "" {
			hint = st.Problem
		}
		return nil, &api.Problem{Code: http.StatusServiceUnavailable, Text: "The record of the fleet is being read.", Hint: hint}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.db != nil {
		return f.db, nil
	}
	db, err := query.Open(ctx, f.path, nil) // users of this host are not those of others
	if err != nil {
		return nil, err
	}
	f.db = db
	return db, nil
}

func (f *fleetDB) status() api.Fleet {
	st := f.mirror.Status()
	out := api.Fleet{Server: st.Server, Since: st.Since, Read: st.Read, Rows: st.Rows, Problem: st.Problem, Hosts: make([]api.FleetHost, len(st.Hosts))}
	for i, h := range st.Hosts {
		out.Hosts[i] = api.FleetHost(h)
	}
	return out
}

// elsewhere answers for the daemons of a fleet, which are on their hosts.
type elsewhere struct{}

func (elsewhere) problem() error {
	return &api.Problem{Code: http.StatusNotImplemented, Text: "This is the record of several hosts: only the snitch of a host knows this.", Hint: "Ask there: snitch web, snitch status."}
}

// Status and the others implement api.Daemon, api.Judge and live.Source.
func (e elsewhere) Status(context.Context) (control.Status, error) {
	return control.Status{}, e.problem()
}

// Doctor is the host's.
func (e elsewhere) Doctor(context.Context) (control.Doctor, error) {
	return control.Doctor{}, e.problem()
}

// Reputation is the host's.
func (e elsewhere) Reputation(context.Context, event.Digest) (control.Verdict, error) {
	return control.Verdict{}, e.problem()
}

// SetAlerts is the host's.
func (e elsewhere) SetAlerts(context.Context, []int64, event.AlertState) error { return e.problem() }

// Flush has nothing to do.
func (elsewhere) Flush(context.Context) error { return nil }

// Rules are the host's.
func (e elsewhere) Rules(context.Context) (api.Rules, error) { return api.Rules{}, e.problem() }

// Why is the host's.
func (e elsewhere) Why(context.Context, time.Time, string) (api.Why, error) {
	return api.Why{}, e.problem()
}

// Try is the host's.
func (e elsewhere) Try(context.Context, api.Candidate) (api.Trial, error) {
	return api.Trial{}, e.problem()
}

// Live is the host's.
func (e elsewhere) Live(context.Context) (*control.Feed, error) { return nil, e.problem() }
