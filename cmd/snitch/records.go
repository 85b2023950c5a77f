package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/sheet"
	"snitch/monitor/event"
	"snitch/monitor/export"
)

// Names of the logs.
const (
	programsLog = "programs.jsonl"
	errorsLog   = "errors.jsonl"
)

// errorLog is where warnings and errors go beside standard error, once it is
// opened. It is safe for concurrent use; a line that cannot be written is only on
// standard error.
type errorLog struct {
	file atomic.Pointer[export.File]
}

// Write never fails: whoever logs has nobody to tell.
func (l *errorLog) Write(line []byte) (int, error) {
	if f := l.file.Load(); f != nil {
		_, _ = f.Write(line)
	}
	return len(line), nil
}

// newLogger writes to standard error and, warnings and errors, to errors.
func newLogger(stderr io.Writer, level slog.Leveler, errors *errorLog) *slog.Logger {
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}),
		slog.NewJSONHandler(errors, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

// openExport prepares the outputs beside the database. A directory of logs that
// cannot be used is said, and the daemon goes on without them.
func (d *daemon) openExport(context.Context) error {
	d.exporter = export.New(export.Deps{User: d.users.name, Loss: d.losses.Count, Log: d.log.With("component", "export")})
	r := d.cfg.Records
	if r.Connections != "off" || r.Programs || r.Errors {
		if err := d.openLogs(); err != nil {
			d.log.Error("no logs are written", "error", err)
			d.noLogs = err.Error()
		}
	}
	if r.Journal != "off" {
		d.exporter.Add("journal", wants(r.Journal), export.NewJournal(export.JournalSocket))
	}
	if r.Syslog.To == "" {
		return nil
	}
	out, err := d.newSyslog(r.Syslog)
	if err != nil {
		return usageError(fmt.Errorf("configuration: records.syslog: %w", err), "mend the configuration, or the file")
	}
	d.exporter.Add("syslog", wants(r.Syslog.Send), out)
	return nil
}

func wants(what string) export.Wants {
	return export.Wants{Connections: what == "connections", Alerts: true, Programs: true}
}

// ruleLogs is the rule of the alert that no logs are written.
const ruleLogs = "records.logs"

// tellLogs raises an alert when the directory of logs cannot be used.
func (d *daemon) tellLogs() {
	if d.noLogs != "" {
		d.raise(event.NewAlert(event.AlertError, ruleLogs, event.ActionNone, "no logs are written until the next start: "+d.noLogs, time.Now(), nil))
	}
}

func (d *daemon) openLogs() error {
	dir, err := export.OpenDir(d.cfg.LogDir(), d.state.gid)
	if err != nil {
		return err
	}
	d.closers = append(d.closers, dir.Close)
	r := d.cfg.Records
	rotation := export.Rotation{Size: r.Size, Keep: r.Keep}
	if r.Errors {
		file := export.NewFile(dir, errorsLog, nil, rotation)
		d.errors.file.Store(file)
		d.closers = append(d.closers, func() error { d.errors.file.Store(nil); return file.Close() })
	}
	if r.Programs {
		d.exporter.Add("programs", export.Wants{Programs: true}, export.NewTextLog(export.NewFile(dir, programsLog, nil, rotation), export.JSONLines))
	}
	switch r.Connections {
	case "json":
		d.exporter.Add("connections", export.Wants{Connections: true}, export.NewTextLog(export.NewFile(dir, "connections.jsonl", nil, rotation), export.JSONLines))
	case "csv":
		header, form, err := csvForm()
		if err != nil {
			return err
		}
		d.exporter.Add("connections", export.Wants{Connections: true}, export.NewTextLog(export.NewFile(dir, "connections.csv", header, rotation), form))
	}
	return nil
}

// csvForm writes changes of connections as `snitch export` writes connections,
// with the change and the connection's number before them.
func csvForm() (header []byte, form export.Form, err error) {
	var b bytes.Buffer
	records, err := sheet.NewRecords(&b)
	if err == nil {
		err = records.Flush()
	}
	if err != nil {
		return nil, nil, err
	}
	header = append([]byte("event,id,"), b.Bytes()...)
	return header, func(i *export.Item) ([]byte, error) {
		if i.Connection == nil {
			return nil, nil
		}
		b.Reset()
		if err := errors.Join(records.Write(&i.Connection.Record), records.Flush()); err != nil {
			return nil, err
		}
		before := fmt.Sprintf("%s,%d,", i.Connection.Event, i.Connection.ID)
		return slices.Concat([]byte(before), b.Bytes()), nil
	}, nil
}

// syslogSettings are what the helper needs, with the files that are named.
func syslogSettings(c config.Syslog) (settings export.Settings, err error) {
	if settings.Target, err = export.ParseTarget(c.To); err != nil {
		return settings, err
	}
	if c.CA != "" {
		if settings.CA, err = config.ReadTrusted(c.CA); err != nil {
			return settings, fmt.Errorf("ca: %w", err)
		}
	}
	if (c.Certificate == "") != (c.Key == "") {
		return settings, errors.New("certificate and key belong together")
	}
	if c.Certificate == "" {
		return settings, nil
	}
	if settings.Certificate, err = config.ReadTrusted(c.Certificate); err != nil {
		return settings, fmt.Errorf("certificate: %w", err)
	}
	if settings.Key, err = config.ReadSecret(c.Key); err != nil {
		return settings, fmt.Errorf("key: %w", err)
	}
	return settings, nil
}

// newSyslog prepares an output whose messages a helper without privileges sends.
func (d *daemon) newSyslog(c config.Syslog) (export.Output, error) {
	settings, err := syslogSettings(c)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	origin := export.Origin{Host: host, App: "snitch", PID: os.Getpid(), Facility: slices.Index(export.Facilities(), c.Facility)}
	session := d.broker.Session(broker.Syslog)
	d.closers = append(d.closers, func() error { session.Close(); return nil })
	var last *broker.Helper
	return export.NewSyslog(settings, origin, func(ctx context.Context, use func(io.ReadWriteCloser, bool) error) error {
		return session.Do(ctx, func(h *broker.Helper) error {
			fresh := h != last
			last = h
			return use(h, fresh)
		})
	}), nil
}

// alerted tells everybody of alerts that became new.
func (d *daemon) alerted(raised []event.Alert) {
	tell(d.notifier, d.denying.Load(), raised)
	d.exporter.Alerts(raised)
}

// outputsStatus is how the outputs beside the database do.
func (d *daemon) outputsStatus() []control.Output {
	out := []control.Output{}
	if d.noLogs != "" {
		out = append(out, control.Output{Name: "logs", Error: d.noLogs})
	}
	for _, s := range d.exporter.Stats() {
		out = append(out, control.Output{Name: s.Name, Written: s.Written, Lost: s.Lost, Waiting: s.Waiting, Error: s.Error})
	}
	return out
}
