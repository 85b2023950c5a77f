package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// namesKept bounds each table of names in memory; when one is full it is
// emptied.
const namesKept = 4096

// names remembers what the numbers of interned rows mean. The writer never
// uses a number twice in one file, so what is remembered stays true. It is
// safe for concurrent use.
type names struct {
	mu        sync.Mutex // guards the tables; held for look-ups only
	texts     map[int64]string
	domains   map[int64]string
	addrs     map[int64]string
	lists     map[int64][]string
	processes map[int64]*lineage
	images    map[int64]*image
	contexts  map[int64]actor
	decisions map[int64]decision
	tables    *interned // has a lock of its own
}

func newNames() *names {
	return &names{texts: map[int64]string{}, domains: map[int64]string{}, addrs: map[int64]string{}, lists: map[int64][]string{},
		processes: map[int64]*lineage{}, images: map[int64]*image{}, contexts: map[int64]actor{}, decisions: map[int64]decision{}, tables: newInterned()}
}

// lineage is a process as a record shows it. Immutable once remembered.
type lineage struct {
	event.Ancestor
	parent               *lineage
	script, scriptSHA256 string
}

// image is a process as the store was given it, as far as it is kept.
// Immutable once remembered.
type image struct {
	event.Process
	// complete says that the record has who ran it and where, as schema 1 had not.
	complete bool
}

// actor is a row of context.
type actor struct {
	uid, netns              uint32
	cgroup, unit, container string
	user                    string // as recorded, "" unknown
	host                    string // "" in a host's own record
}

// decision is a row of decision.
type decision struct {
	action, would  event.Action
	mode           event.Mode
	rule, revision string
	matches        []string

	reason, position, failure string
	capped, provisional       bool
	previous                  *decision
}

// remembered returns what table knows of id, or reads it. Two readers may read
// the same; that does no harm.
func remembered[V any](n *names, table map[int64]V, id int64, read func() (V, error)) (V, error) {
	n.mu.Lock()
	v, ok := table[id]
	n.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err != nil {
		return v, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(table) >= namesKept {
		clear(table)
	}
	table[id] = v
	return v, nil
}

// row reads the one row of an interned table. A row that is not there is
// damage: rows that refer to it are removed first.
func (r *reader) row(ctx context.Context, table, sqlText string, id int64, to ...any) error {
	err := r.tx.QueryRowContext(ctx, sqlText, id).Scan(to...)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("no row %d in %s: %w", id, table, ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}

func (r *reader) text(ctx context.Context, id int64) (string, error) {
	return remembered(r.names, r.names.texts, id, func() (s string, err error) {
		return s, r.row(ctx, "text", "SELECT value FROM text WHERE id = ?", id, &s)
	})
}

func (r *reader) domain(ctx context.Context, id int64) (string, error) {
	return remembered(r.names, r.names.domains, id, func() (s string, err error) {
		return s, r.row(ctx, "domain", "SELECT name FROM domain WHERE id = ?", id, &s)
	})
}

func (r *reader) address(ctx context.Context, id int64) (string, error) {
	return remembered(r.names, r.names.addrs, id, func() (string, error) {
		var b []byte
		if err := r.row(ctx, "address", "SELECT bytes FROM address WHERE id = ?", id, &b); err != nil {
			return "", err
		}
		a, err := schema.ToAddr(b)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return a.String(), nil
	})
}

func (r *reader) list(ctx context.Context, id int64) ([]string, error) {
	return remembered(r.names, r.names.lists, id, func() ([]string, error) {
		var s string
		if err := r.row(ctx, "list", "SELECT items FROM list WHERE id = ?", id, &s); err != nil {
			return nil, err
		}
		list, err := schema.ToList(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return list, nil
	})
}

const selectProcess = `SELECT e.path, e.view, e.kind, e.sha256, e.reason, e.package, n.value, a.value, p.parent, s.path, s.sha256
FROM process p JOIN executable e ON e.id = p.executable JOIN text n ON n.id = p.name JOIN text a ON a.id = p.cmdline
LEFT JOIN script s ON s.id = p.script WHERE p.id = ?`

// process reads a process and its ancestors, at most depth of them: damage
// must not lead round in a circle.
func (r *reader) process(ctx context.Context, id int64, depth int) (*lineage, error) {
	if depth < 0 {
		return nil, nil
	}
	return remembered(r.names, r.names.processes, id, func() (*lineage, error) {
		l := &lineage{}
		var kind, reason uint8
		var sha, scriptSHA []byte
		var script sql.NullString
		var parent sql.NullInt64
		err := r.row(ctx, "process", selectProcess, id, &l.Exe, &l.ExeView, &kind, &sha, &reason, &l.Package, &l.Name, &l.Cmdline, &parent, &script, &scriptSHA)
		if err != nil {
			return nil, err
		}
		l.ExeKind = event.ExecutableKind(kind).String()
		if l.SHA256 = digest(sha); l.SHA256 == "" {
			l.HashReason = event.HashReason(reason).String()
		}
		l.script, l.scriptSHA256 = script.String, digest(scriptSHA)
		if parent.Valid {
			l.parent, err = r.process(ctx, parent.Int64, depth-1)
		}
		return l, err
	})
}

func digest(b []byte) string {
	var d event.Digest
	if len(b) != len(d) {
		return ""
	}
	return event.Digest(b).String()
}

func (r *reader) actor(ctx context.Context, id int64) (actor, error) {
	return remembered(r.names, r.names.contexts, id, func() (a actor, err error) {
		return a, r.row(ctx, "context", `SELECT x.uid, x.netns, g.path, g.unit, g.container, ifnull(u.value, ''), ifnull(h.value, '') FROM context x
			JOIN cgroup g ON g.id = x.cgroup LEFT JOIN text u ON u.id = x.user LEFT JOIN text h ON h.id = x.host WHERE x.id = ?`, id,
			&a.uid, &a.netns, &a.cgroup, &a.unit, &a.container, &a.user, &a.host)
	})
}

// account is the recorded name of the user, or the one of today.
func (r *reader) account(a *actor) string {
	if a.user != "" {
		return a.user
	}
	return r.users(a.uid)
}

// decision reads a decision and those before it, at most earlier of them:
// damage must not lead round in a circle.
func (r *reader) decision(ctx context.Context, id int64, earlier int) (decision, error) {
	return remembered(r.names, r.names.decisions, id, func() (d decision, err error) {
		var matches int64
		var previous sql.NullInt64
		err = r.row(ctx, "decision", `SELECT d.action, d.would, d.mode, u.value, d.matches, v.value, ifnull(y.value, ''), ifnull(o.value, ''),
			ifnull(e.value, ''), d.previous, d.capped, d.provisional
			FROM decision d JOIN text u ON u.id = d.rule JOIN text v ON v.id = d.revision
			LEFT JOIN text y ON y.id = d.reason LEFT JOIN text o ON o.id = d.position LEFT JOIN text e ON e.id = d.error WHERE d.id = ?`, id,
			&d.action, &d.would, &d.mode, &d.rule, &matches, &d.revision, &d.reason, &d.position, &d.failure, &previous, &d.capped, &d.provisional)
		if err != nil {
			return d, err
		}
		if previous.Valid && earlier > 0 {
			before, err := r.decision(ctx, previous.Int64, earlier-1)
			if err != nil {
				return d, err
			}
			d.previous = &before
		}
		d.matches, err = r.list(ctx, matches)
		return d, err
	})
}
