package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// StatusOptions are the flags of `snitch status`.
type StatusOptions struct {
	State string
	JSON  bool
}

// Stopped is what `snitch status --json` prints when no daemon runs: what the
// database alone tells.
type Stopped struct {
	Running  bool             `json:"running"` // false
	State    string           `json:"state"`
	Database control.Database `json:"database"`
	LastRun  *query.Run       `json:"last_run"` // null when there was none, or it may not be read
	Problem  string           `json:"problem,omitempty"`
}

func newStatus(io stdio) *cobra.Command {
	var opts StatusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether snitch runs, and how it does",
		Long: `Ask the daemon how it does: uptime, way of counting, events, what was lost and
why, database, memory. Without a daemon, say what the database tells; the exit
code is then 1.`,
		Example:           "  snitch status\n  snitch status --json | jq .losses",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), io, opts) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

func runStatus(ctx context.Context, io stdio, opts StatusOptions) error {
	st, err := control.NewClient(opts.State).Status(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return showStopped(ctx, io, opts)
	case errors.Is(err, control.ErrForbidden):
		return errorWithHint(err, "run it with sudo, or join group snitch")
	case err != nil:
		return err
	case opts.JSON:
		return printJSON(io.out, st)
	}
	return write(io.out, formatStatus(st))
}

func showStopped(ctx context.Context, io stdio, opts StatusOptions) error {
	s := stopped(ctx, opts.State)
	if opts.JSON {
		if err := printJSON(io.out, s); err != nil {
			return err
		}
		return errAnswerNo
	}
	if err := write(io.out, s.String()); err != nil {
		return err
	}
	return errorWithHint(fmt.Errorf("no daemon runs with state directory %s", opts.State), "start it with 'sudo snitch run', or name its directory with --state")
}

// stopped reads what the database alone tells.
func stopped(ctx context.Context, dir string) Stopped {
	path := filepath.Join(dir, schema.FileName)
	s := Stopped{State: dir, Database: control.Database{Path: path}}
	for _, file := range []string{path, path + "-wal"} {
		if info, err := os.Stat(file); err == nil {
			s.Database.Bytes += uint64(info.Size())
		}
	}
	db, err := query.Open(ctx, path, nil)
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	defer db.Close()
	runs, err := db.Runs(ctx)
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	if len(runs) > 0 {
		s.LastRun = &runs[len(runs)-1]
		s.Database.LastWrite = s.LastRun.Stopped
	}
	return s
}

// String is the answer for people.
func (s Stopped) String() string {
	var b strings.Builder
	b.WriteString("not running\n")
	if s.LastRun != nil {
		end := "ended " + clock(s.LastRun.Stopped)
		if s.LastRun.Stopped.IsZero() {
			end = "its end is not recorded"
		} else if !s.LastRun.Clean {
			end = "last wrote " + clock(s.LastRun.Stopped) + " and did not end in order"
		}
		fmt.Fprintf(&b, "last run   began %s, %s (snitch %s, tier %s)\n", clock(s.LastRun.Started), end, text.Clean(s.LastRun.Version), text.Clean(s.LastRun.Tier))
	}
	fmt.Fprintf(&b, "database   %s, %s\n", text.Clean(s.Database.Path), text.Bytes(s.Database.Bytes))
	if s.Problem != "" {
		fmt.Fprintf(&b, "           %s\n", text.Clean(s.Problem))
	}
	return b.String()
}

// clock is a time for people, in their zone.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func formatStatus(st control.Status) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, text.Clean(fmt.Sprintf(format, args...)))
	}
	line("running", "%s, since %s (pid %d, snitch %s)", text.Duration(time.Duration(st.Uptime*float64(time.Second))), clock(st.Started), st.PID, st.Version)
	line("state", "%s", st.State)
	line("tier", "%s, %d programs in the kernel, mode %s", st.Tier, len(st.Mechanisms), st.Mode)
	ignored := ""
	if n := st.Connections.Ignored; n > 0 {
		ignored = fmt.Sprintf(" (%d ignored)", n)
	}
	if r := st.Reputation; r != nil {
		line("virustotal", "%d known, %d waiting, %d asked, %d failed, %d uploaded%s", r.Known, r.Waiting, r.Asked, r.Failed, r.Uploaded, text.Clean(prefixed(": ", r.Error)))
	}
	for _, o := range st.Outputs {
		state := fmt.Sprintf("%d written, %d lost", o.Written, o.Lost)
		if o.Error != "" {
			state += ", DOES NOT WORK: " + text.Clean(o.Error)
		}
		line("output", "%s: %s", text.Clean(o.Name), state)
	}
	line("connections", "%d open, %d in all%s, %s up, %s down", st.Connections.Open, st.Connections.Total, ignored, text.Bytes(st.Connections.Sent), text.Bytes(st.Connections.Received))
	line("events", "%d flows, %d execs, %d forks, %d exits, %d payloads", st.Events.Flows, st.Events.Execs, st.Events.Forks, st.Events.Exits, st.Events.Payloads)
	line("processes", "%d known", st.Processes)
	line("digests", "%d known, %d pending, %d hits, %d misses, %s read; fanotify %s", st.Digests.Entries, st.Digests.Pending, st.Digests.Hits, st.Digests.Misses, text.Bytes(st.Digests.Bytes), st.Digests.Fanotify)
	line("names", "%d addresses have one; %d of %d DNS answers believed, %d hellos; resolved: %s", st.Names.Addresses, st.Names.Believed, st.Names.Answers, st.Names.Hellos, st.Names.Resolved)
	enforceLine(line, st.Enforce)
	packagesLine(line, st.Packages)
	policyLines(line, st.Policy)
	fleetLines(line, st.Fleet)
	desktopsLine(line, st.Desktops)
	databaseLine(line, st.Database)
	remoteLine(line, st.Remote)
	line("memory", "core %s PSS (%s RSS), broker %s PSS (%s RSS)", text.Bytes(st.Memory.PSS), text.Bytes(st.Memory.RSS), text.Bytes(st.Memory.BrokerPSS), text.Bytes(st.Memory.BrokerRSS))
	line("live", "%s, %d messages lost", text.Plural(uint64(st.Live.Clients), "client"), st.Live.Lost)
	if st.Broker.Alive {
		line("broker", "pid %d, runs %s", st.Broker.PID, helpers(st.Broker.Helpers))
	} else {
		line("broker", "GONE: no helper can be started until snitch is restarted")
	}
	_ = w.Flush() // a strings.Builder takes everything
	writeLosses(&b, st.Losses)
	return b.String()
}

// enforceLine says whether anything is denied, by what, and what happens without
// snitch; 'enforce status' tells more.
func enforceLine(line func(name, format string, args ...any), e *control.Enforce) {
	if e == nil || e.Backend == nil {
		return
	}
	b := e.Backend
	if b.Mode == modeEnforce {
		line("denies", "by %s, %d denied, %d held; without snitch: %s", b.Name, b.Denied, b.Held, failLine(e))
	} else {
		line("denies", "nothing (%s could)", b.Name)
	}
	for _, problem := range []string{e.Problem, b.Problem} {
		if problem != "" {
			line("", "NOT AS IT SHOULD BE: %s", problem)
		}
	}
}

// packagesLine says which package databases programs are looked for in.
func packagesLine(line func(name, format string, args ...any), p control.Packages) {
	databases := make([]string, len(p.Databases))
	for i, db := range p.Databases {
		databases[i] = fmt.Sprintf("%s has %s of %s (%s)", db.Name, text.Plural(uint64(db.Files), "file"), text.Plural(uint64(db.Packages), "package"), text.Bytes(db.Bytes))
	}
	if len(databases) == 0 {
		databases = []string{"no database read"}
	}
	line("packages", "%s; %d asked, %d dropped, %d failed", strings.Join(databases, ", "), p.Asked, p.Dropped, p.Failed)
}

// desktopsLine says whom alerts are shown to.
func desktopsLine(line func(name, format string, args ...any), d control.Desktops) {
	if !d.Enabled {
		line("desktops", "not notified (notify.desktop is off)")
		return
	}
	line("desktops", "%d notified; %s, %d shown, %d dropped, %d helpers failed", d.Desks, text.Plural(d.Alerts, "alert"), d.Shown, d.Dropped, d.Failed)
}

// policyLines names the rules in use, and why others are not.
func policyLines(line func(name, format string, args ...any), p control.Policy) {
	line("rules", "%s and %s from %s, revision %s", text.Plural(uint64(p.Rules), "rule"), text.Plural(uint64(p.Confine), "confinement"), p.Source, p.Revision)
	line("decisions", "%d by OPA, %d from the cache, %d errors, %d waiting, %d never decided", p.Evaluated, p.CacheHits, p.Errors, p.Waiting, p.Undecided)
	for _, problem := range p.Degraded {
		line("", "CUSTOM RULES DO NOT ANSWER: %s", problem)
	}
	if p.Error == "" {
		return
	}
	which := "those loaded before"
	if p.LastGood {
		which = "the last good ones"
	}
	line("", "THE RULES DO NOT LOAD, %s are used:", which)
	for _, problem := range strings.Split(p.Error, "\n") {
		line("", "%s", problem)
	}
}

func helpers(kinds []string) string {
	if len(kinds) == 0 {
		return "no helper"
	}
	return strings.Join(kinds, ", ")
}

func databaseLine(line func(name, format string, args ...any), db control.Database) {
	since := "nothing yet"
	if !db.Oldest.IsZero() {
		since = "since " + clock(db.Oldest)
	}
	line("database", "%s, %d rows, %s, %d waiting, %d lost", text.Bytes(db.Bytes), db.Rows, since, db.Pending, db.Lost)
	if db.LastError != "" {
		line("", "LAST WRITE FAILED: %s", db.LastError)
	}
}

// remoteLine says how the record on another host does.
func remoteLine(line func(name, format string, args ...any), r *control.Remote) {
	if r == nil {
		return
	}
	line("remote", "%s: %d rows sent, %d wait (%s of %s), %d never left", r.Server, r.Rows, r.Waiting, text.Bytes(r.WaitingBytes), text.Bytes(r.Spool), r.Dropped)
	if r.Problem != "" {
		line("", "NOTHING ARRIVES, since %s: %s", text.Duration(time.Duration(r.Behind*float64(time.Second)).Round(time.Second)), r.Problem)
	}
}

// writeLosses names every cause by which something was lost.
func writeLosses(w io.Writer, losses map[string]control.Loss) {
	if len(losses) == 0 {
		fmt.Fprintln(w, "losses       none")
		return
	}
	causes := make([]string, 0, len(losses))
	for c := range losses {
		causes = append(causes, c)
	}
	slices.Sort(causes)
	fmt.Fprintln(w, "losses")
	for _, c := range causes {
		l := losses[c]
		fmt.Fprintf(w, "  %s: %d", text.Clean(c), l.Count)
		if l.Sent+l.Received > 0 {
			fmt.Fprintf(w, " (%s up, %s down)", text.Bytes(l.Sent), text.Bytes(l.Received))
		}
		fmt.Fprintln(w)
	}
}
