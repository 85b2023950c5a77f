package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/fleet"
	"snitch/policy"
)

// Directories of the fleet in the state directory: root's, and the helper's.
const (
	fleetDir       = "fleet"
	fleetHelperDir = "fleet-fetch"
)

// source is where the rules come from.
func (d *daemon) source(base ruleSource) (policy.Source, error) {
	f := d.cfg.Fleet
	if f.Source == config.FleetSources()[0] {
		return base, nil
	}
	if f.URL == "" || f.Keys == "" {
		return nil, usageError(fmt.Errorf("fleet.source is %s, and fleet.url or fleet.keys is missing", f.Source), "add both, or say 'source: off'; see 'snitch config show'")
	}
	if filepath.IsAbs(f.URL) && f.Source == fleet.KindGit {
		f.URL = "file://" + f.URL
	}
	host, err := fleetHost(f.Host)
	if err != nil {
		return nil, err
	}
	cfg := fleet.Config{Kind: f.Source, URL: f.URL, Branch: f.Branch, Path: f.Path, Keys: f.Keys, CA: f.CA, Token: f.Token, SSHKey: f.SSHKey, KnownHosts: f.KnownHosts,
		Host: host, Interval: f.Interval, Trial: f.Trial, Alerts: f.TrialAlerts, Errors: f.TrialErrors,
		Dir: filepath.Join(d.state.path, fleetDir), HelperDir: filepath.Join(d.state.path, fleetHelperDir)}
	if f.Source == fleet.KindGit {
		if err := d.makeHelperDir(cfg.HelperDir); err != nil {
			return nil, fmt.Errorf("make directory of the fetcher: %w", err)
		}
	}
	d.pulseOf = newAlertPulse()
	d.fleet = fleet.New(cfg, fleet.Deps{Start: d.startFetcher, Base: base, Health: d.health, Alert: d.raise, Log: d.log.With("component", "fleet"),
		ReadFile: func(path string) ([]byte, error) { return config.ReadFile(path, path == f.Token) }})
	return d.fleet, nil
}

// makeHelperDir makes the directory in which the fetcher keeps a repository:
// nobody believes what is in it, and it lies where its user can get.
func (d *daemon) makeHelperDir(dir string) error {
	user := helperUser()
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Lchown(dir, int(user.UID), int(user.GID)); err != nil {
		return err
	}
	info, err := os.Stat(d.state.path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Gid == user.GID && info.Mode()&0o010 != 0 {
		return nil
	}
	return os.Chmod(d.state.path, info.Mode().Perm()|0o001) // to pass, not to look
}

// startFetcher starts the helper of a kind.
func (d *daemon) startFetcher(ctx context.Context, kind string) (net.Conn, error) {
	helper, err := d.broker.Start(ctx, map[string]broker.Kind{fleet.HelperBundle: broker.FetchBundle, fleet.HelperGit: broker.FetchGit, fleet.HelperPGP: broker.VerifyPGP}[kind])
	if err != nil {
		return nil, err
	}
	return helper, nil
}

// fleetHost is the name of this machine for staged roll-outs: a digest of its id,
// which is not to be told.
func fleetHost(name string) (string, error) {
	if name != "auto" {
		return name, nil
	}
	id, err := os.ReadFile("/etc/machine-id")
	if text := strings.TrimSpace(string(id)); err == nil && text != "" {
		mac := hmac.New(sha256.New, []byte(text))
		mac.Write([]byte("snitch fleet host"))
		return hex.EncodeToString(mac.Sum(nil)[:16]), nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this machine: %w", err)
	}
	return host, nil
}

// startPolicy loads the rules; with a fleet, a set that does not load any more
// gives way to the one before and in the end to the machine's own.
func (d *daemon) startPolicy() error {
	for {
		err := d.manager.Start()
		if err == nil || d.fleet == nil || !d.fleet.Unloadable(err) {
			return err
		}
		d.log.Error("published rules do not load any more", "component", "fleet", "error", err)
	}
}

// reload reads the rules again, and looks for published ones, as somebody asked
// who may try again what is held.
func (d *daemon) reload() error {
	if d.fleet != nil {
		d.fleet.Retry()
	}
	return d.manager.Reload()
}

// refresh is reload for a signal, which asks for nothing in particular.
func (d *daemon) refresh() {
	if d.fleet != nil {
		d.fleet.Sync()
	}
	_ = d.manager.Reload() // it tells its error itself
}

// health is what a bad set makes more of.
func (d *daemon) health() fleet.Health {
	alerts, errs := d.pulseOf.counts()
	return fleet.Health{Alerts: alerts, Errors: errs + d.engine.Stats().Errors}
}

// fleetStatus is what `snitch status` tells; nil without a fleet.
func (d *daemon) fleetStatus() *control.Fleet {
	if d.fleet == nil {
		return nil
	}
	s := d.fleet.State()
	out := &control.Fleet{Kind: s.Kind, URL: s.URL, Host: s.Host, Changed: s.Changed, Offered: s.Offered, Percent: s.Percent, Drift: s.Drift, TrialUntil: s.Trial, Checked: s.Checked,
		Looks: s.Looks, Failures: s.Failures, Refused: s.Refused, Returns: s.Returns}
	if s.Current != nil {
		out.Revision, out.Serial = s.Current.Revision, s.Current.Serial
	}
	if s.Previous != nil {
		out.Previous = s.Previous.Revision
	}
	if s.Held != nil {
		out.Held, out.HeldReason = s.Held.Revision, s.Held.Reason
	}
	return out
}
