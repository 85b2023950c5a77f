package picosnitch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver of the database

	"snitch/monitor/event"
)

// Row is one row of picosnitch's record: what a program moved within a window.
type Row struct {
	Connection event.Connection
	// Exec says that the row is no connection but a program that ran.
	Exec bool
}

// column is a value of a row, with the names that it has in either version.
type column struct {
	names []string // in a flat table
	four  string   // in version 4, which keeps programs, names and addresses apart
}

// The columns, in the order of scan.
var columns = []column{
	{[]string{"contime", "time"}, "c.contime"}, {[]string{"send", "sent"}, "c.send"}, {[]string{"recv", "received"}, "c.recv"}, {[]string{"events", "conns", "count"}, "c.events"},
	{[]string{"uid"}, "c.uid"}, {[]string{"family"}, "c.family"}, {[]string{"protocol", "proto"}, "c.protocol"}, {[]string{"lport"}, "c.lport"}, {[]string{"rport", "port"}, "c.rport"},
	{[]string{"laddr"}, "la.addr"}, {[]string{"raddr", "addr", "ip"}, "ra.addr"}, {[]string{"domain"}, "d.domain"}, {[]string{"netns"}, "c.netns"},
	{[]string{"exe"}, "e.exe"}, {[]string{"name"}, "e.name"}, {[]string{"cmdline"}, "e.cmdline"}, {[]string{"sha256"}, "e.sha256"},
	{[]string{"pexe"}, "p.exe"}, {[]string{"pname"}, "p.name"}, {[]string{"pcmdline"}, "p.cmdline"}, {[]string{"psha256"}, "p.sha256"},
	{[]string{"gpexe"}, "g.exe"}, {[]string{"gpname"}, "g.name"}, {[]string{"gpcmdline"}, "g.cmdline"}, {[]string{"gpsha256"}, "g.sha256"},
}

const fromFour = ` FROM connections c JOIN executables e ON e.id = c.exe_id LEFT JOIN executables p ON p.id = c.pexe_id LEFT JOIN executables g ON g.id = c.gpexe_id
 LEFT JOIN addresses la ON la.id = c.laddr_id LEFT JOIN addresses ra ON ra.id = c.raddr_id LEFT JOIN domains d ON d.id = c.domain_id ORDER BY c.contime`

// ErrNoDatabase says that a file is no database of picosnitch.
var ErrNoDatabase = errors.New("no database of picosnitch")

// Database reads a database of picosnitch, its versions 3 and 4, oldest row first,
// and calls f with each row. It writes nothing.
func Database(ctx context.Context, file string, f func(Row) error) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: "mode=ro&_pragma=query_only(1)&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer db.Close()
	query, err := question(ctx, db)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	defer rows.Close()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	r := reader{processes: map[string]*event.Process{}}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read database: %w", err)
		}
		if err := f(r.row(values)); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read database: %w", err)
	}
	return nil
}

// question is what to ask: by the columns that are there, for the version alone
// does not say.
func question(ctx context.Context, db *sql.DB) (string, error) {
	has, err := columnsOf(ctx, db, "connections")
	if err != nil {
		return "", err
	}
	var list []string
	if slices.Contains(has, "exe_id") {
		for _, c := range columns {
			list = append(list, c.four)
		}
		return "SELECT " + strings.Join(list, ", ") + fromFour, nil
	}
	order := ""
	for _, c := range columns {
		i := slices.IndexFunc(c.names, func(n string) bool { return slices.Contains(has, n) })
		if i < 0 {
			list = append(list, "NULL")
			continue
		}
		list = append(list, `"`+c.names[i]+`"`)
		if order == "" {
			order = c.names[i]
		}
	}
	if !slices.Contains(has, "exe") || order != "contime" && order != "time" {
		return "", fmt.Errorf("%w: its table connections is another one", ErrNoDatabase)
	}
	return "SELECT " + strings.Join(list, ", ") + ` FROM connections ORDER BY "` + order + `"`, nil
}

func columnsOf(ctx context.Context, db *sql.DB, table string) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDatabase, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("read database: %w", err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDatabase, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it has no table connections", ErrNoDatabase)
	}
	return out, nil
}

// reader makes connections of rows. Processes are shared between rows.
type reader struct {
	next      uint64
	processes map[string]*event.Process
}

// maxProcesses bounds what is shared; beyond it processes are made anew.
const maxProcesses = 1 << 16

func (r *reader) row(v []any) Row {
	r.next++
	opened := time.Unix(int64(min(number(v[0]), 1<<40)), 0).UTC()
	c := event.Connection{ID: r.next, Opened: opened, Last: opened, Direction: event.Out, Sent: number(v[1]), Received: number(v[2]), Packets: number(v[3]),
		UID: uint32(number(v[4])), Family: uint16(number(v[5])), Proto: uint16(number(v[6])), NetNS: uint32(number(v[12])),
		Result: event.ResultClosed, Closed: true, Decision: event.Decision{Mode: event.ModeAudit}}
	c.Local, c.Remote = endpoint(v[9], v[7]), endpoint(v[10], v[8])
	if c.Family == 0 && c.Remote.Addr().IsValid() {
		c.Family = event.AFInet
		if c.Remote.Addr().Is6() {
			c.Family = event.AFInet6
		}
	}
	if name := domain(words(v[11])); name != "" {
		c.Name = event.Name{Domain: name, Source: event.NameReverse, At: opened} // a label: nobody knows today where it came from
		c.Names = []event.Name{c.Name}
	}
	grandparent := r.process(v[21:25], nil, opened)
	parent := r.process(v[17:21], grandparent, opened)
	c.Process = r.process(v[13:17], parent, opened)
	return Row{Connection: c, Exec: words(v[8]) == "-1"}
}

// process makes a process of executable, name, command line and digest; nil when
// there is none.
func (r *reader) process(v []any, parent *event.Process, at time.Time) *event.Process {
	exe, name, cmdline, sha := words(v[0]), words(v[1]), words(v[2]), words(v[3])
	if exe == "" && name == "" {
		return parent
	}
	key := strings.Join([]string{exe, name, cmdline, sha, fmt.Sprintf("%p", parent)}, "\x00")
	if p := r.processes[key]; p != nil {
		return p
	}
	p := &event.Process{Name: name, Args: []string{cmdline}, Parent: parent, Started: at, Executable: event.Executable{Path: exe, Kind: event.ExecutableFile, Reason: event.HashUnknown}}
	if !strings.HasPrefix(exe, "/") {
		p.Executable.Kind = event.ExecutableUnknown
	}
	if d, err := event.ParseDigest(sha); err == nil && !d.IsZero() {
		p.Executable.SHA256, p.Executable.Reason = d, event.HashKnown
	}
	if len(r.processes) >= maxProcesses {
		clear(r.processes)
	}
	r.next++
	p.ID = event.ProcessID{Start: r.next}
	r.processes[key] = p
	return p
}

// words is a value as text, cut to what a process can have.
func words(v any) string {
	var s string
	switch x := v.(type) {
	case nil:
	case []byte:
		s = string(x)
	case string:
		s = x
	default:
		s = fmt.Sprint(x)
	}
	const most = 4096
	return strings.ToValidUTF8(s[:min(len(s), most)], "\ufffd")
}

// number is a value as a number; what is none, or negative, is 0.
func number(v any) uint64 {
	switch x := v.(type) {
	case int64:
		return uint64(max(0, x))
	case float64:
		if x > 0 && x < 1<<53 {
			return uint64(x)
		}
		return 0
	}
	n, err := strconv.ParseUint(words(v), 10, 63)
	if err != nil {
		return 0
	}
	return n
}

func endpoint(addr, port any) netip.AddrPort {
	a, err := netip.ParseAddr(words(addr))
	if err != nil {
		a = netip.Addr{}
	}
	p := number(port)
	if p > 65535 {
		p = 0
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(p))
}

// domain is a name the right way round: picosnitch kept names from the top down.
func domain(s string) string {
	if s == "" || len(s) > 253 || strings.ContainsAny(s, " /:") {
		return ""
	}
	first, _, _ := strings.Cut(s, ".")
	last := s[strings.LastIndexByte(s, '.')+1:]
	if slices.Contains(tops, first) && !slices.Contains(tops, last) {
		s = reversed(s)
	}
	return strings.ToLower(s)
}

// tops are domains that stand at the top, and seldom at the bottom.
var tops = []string{"com", "org", "net", "edu", "gov", "io", "arpa", "de", "uk", "fr", "nl", "eu", "ca", "au", "jp", "cn", "ru", "br", "in", "it", "es", "ch", "at", "se", "pl", "us", "dev", "app", "info", "biz", "co", "me", "tv", "xyz", "cloud", "local", "lan"}
