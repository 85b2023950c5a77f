package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/web"
	"snitch/cmd/internal/web/api"
	"snitch/cmd/internal/web/gate"
	"snitch/monitor/store/query"
)

// WebOptions are the flags of `snitch web`.
type WebOptions struct {
	recordOptions
	Host   string
	Port   string
	Socket string
	Fleet  fleetOptions
}

// Where the web interface is, without other wishes.
const (
	webHost = "localhost"
	webPort = "5100"
)

func newWeb(io stdio) *cobra.Command {
	var opts WebOptions
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Show the record, what happens now and the rules in a browser",
		Long: `Serve the web interface on this machine until interrupted. The first line of output
is its address with a token, which signs a browser in once; after each use the next
one is printed. It needs no root: be a member of group snitch. Started by root it
gives root up, when that group reads the state directory.

With --socket it listens on a unix socket instead, which root, the user who started
it and members of group snitch may use without a token, for a proxy or ssh -L.

SNITCH_HOST and SNITCH_PORT name another address. The answers are not encrypted:
for another machine use ssh -L 5100:localhost:5100 HOST, or a proxy with TLS.

With --db it shows what several hosts sent to an SQL server (remote.url there), by a
copy of the last days that is removed at the end.`,
		Example: `  snitch web
  SNITCH_PORT=8080 snitch web
  snitch web --database old.db
  snitch web --db postgres://grafana@db.example.net/fleet --db-password-file ~/.fleet
  snitch web --socket /run/user/1000/snitch.sock`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Fleet.URL != "" {
				return runFleet(cmd.Context(), io, opts)
			}
			return runWeb(cmd.Context(), io, opts)
		},
	}
	opts.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&opts.Host, "host", env("SNITCH_HOST", webHost), "address or name to listen on")
	f.StringVar(&opts.Port, "port", env("SNITCH_PORT", webPort), "port to listen on; 0: any")
	f.StringVar(&opts.Socket, "socket", "", "a unix socket to listen on, instead of an address")
	opts.Fleet.flags(f)
	complete(cmd, "db", cobra.NoFileCompletions)
	complete(cmd, "db-window", cobra.FixedCompletions([]string{"1d", "7d", "30d"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func runWeb(ctx context.Context, io stdio, opts WebOptions) error {
	l, err := opts.listen()
	if err != nil {
		return err
	}
	defer l.Close()
	if err := unroot(opts.State); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	daemon := control.NewClient(opts.State)
	source := &webDB{path: opts.file(), daemon: daemon, users: new(users)}
	defer source.Close()
	door, announce := opts.door(io, l)
	places, err := newWebPlaces(opts.State, log)
	if err != nil {
		return err
	}
	server, err := web.New(web.Config{Gate: door, Feed: daemon, Version: version, Log: log,
		API: api.Config{DB: source.get, Daemon: daemon, Judge: &webJudge{db: source.get, daemon: daemon}, Places: places, Log: log}})
	if err != nil {
		return err
	}
	if err := announce(); err != nil {
		return err
	}
	return server.Serve(ctx, l)
}

// listen binds the socket.
func (o *WebOptions) listen() (net.Listener, error) {
	if l, err := activated(); l != nil || err != nil {
		if err == nil {
			o.Socket = l.Addr().String()
		}
		return l, err
	}
	if o.Socket != "" {
		return listenUnix(o.Socket)
	}
	if n, err := strconv.ParseUint(o.Port, 10, 16); err != nil {
		return nil, usageError(fmt.Errorf("port %q is no number from 0 to 65535", o.Port), "set --port or SNITCH_PORT")
	} else if n > 0 && n < 1024 && os.Geteuid() != 0 {
		return nil, usageError(fmt.Errorf("port %d needs root", n), "choose one from 1024 on")
	}
	host := o.Host
	if host == webHost {
		// One family, which the printed address names: were the other one bound
		// by somebody else, a browser that tries it first would bring them the token.
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, o.Port))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, usageError(fmt.Errorf("port %s is in use", o.Port), "is snitch web running already? else choose another with --port")
	case err != nil:
		return nil, usageError(fmt.Errorf("listen: %w", err), "set --host or SNITCH_HOST to an address of this machine")
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close() // it was only to see
			return nil, usageError(fmt.Errorf("somebody listens on %s", path), "is snitch web running already?")
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
	}
	old := syscall.Umask(0o117) // nobody but us and the group, from the first moment
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, usageError(fmt.Errorf("listen: %w", err), "name a socket in a directory that you may write to")
	}
	if gid := group(); gid >= 0 && os.Geteuid() == 0 {
		if err := os.Lchown(path, -1, gid); err != nil {
			return nil, errors.Join(fmt.Errorf("give socket to group: %w", err), l.Close())
		}
	}
	return l, nil
}

// door says who may ask, and returns what tells the person where.
func (o *WebOptions) door(io stdio, l net.Listener) (gate.Config, func() error) {
	if o.Socket != "" {
		access := control.Access{Group: group()}
		return gate.Config{Hosts: gate.Hosts{ourName}, Admits: access.Admits}, func() error { return write(io.out, "unix:"+o.Socket+"\n") }
	}
	at := l.Addr().String()
	_, port, _ := net.SplitHostPort(at) // it is one that the kernel wrote
	host := o.Host
	if host == webHost {
		host = "127.0.0.1"
	}
	keys := gate.NewKeys(time.Now)
	address := func() string {
		return fmt.Sprintf("http://%s/?%s=%s", net.JoinHostPort(host, port), gate.TokenParam, keys.Token())
	}
	announce := func() error {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			fmt.Fprintf(io.err, "snitch: %s is reachable from other machines, and what is sent is not encrypted\nhint: use ssh -L %s:localhost:%s, or a proxy with TLS\n", at, port, port)
		}
		return write(io.out, address()+"\n")
	}
	signedIn := func(gate.Owner) {
		_ = write(io.out, "signed in; for another browser: "+address()+"\n") // nobody reads it
	}
	return gate.Config{Hosts: gate.Hosts{strings.ToLower(o.Host)}, Keys: keys, Cookie: "snitch-" + port, SignedIn: signedIn}, announce
}

// unroot gives root up where a member of the group can do the work.
func unroot(state string) error {
	gid := group()
	info, err := os.Stat(state)
	if os.Geteuid() != 0 || gid < 0 || err != nil {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Gid) != gid || info.Mode()&0o050 != 0o050 {
		return nil
	}
	who := helperUser()
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(int(who.UID))); err != nil {
		return fmt.Errorf("give up root: %w", err)
	}
	return nil
}

// flushEvery bounds how often the daemon is asked to write what it holds.
const (
	flushEvery  = 2 * time.Second
	flushWithin = 500 * time.Millisecond
)

// webDB opens the database when it is there. It is safe for concurrent use.
type webDB struct {
	path   string
	daemon *control.Client
	users  *users

	mu      sync.Mutex // guards what follows
	db      *query.DB
	flushed time.Time
}

// get returns the database, with what happened until a moment ago.
func (w *webDB) get(ctx context.Context) (*query.DB, error) {
	w.flush(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.db != nil {
		return w.db, nil
	}
	db, err := query.Open(ctx, w.path, w.users.name)
	if err != nil {
		return nil, err
	}
	w.db = db
	return db, nil
}

// flush has the daemon write, when that was not done a moment ago. Others do
// not wait for it.
func (w *webDB) flush(ctx context.Context) {
	now := time.Now()
	w.mu.Lock()
	due := now.Sub(w.flushed) >= flushEvery
	if due {
		w.flushed = now
	}
	w.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	_ = w.daemon.Flush(ctx) // without a daemon the database is all there is
}

// Close closes the database.
func (w *webDB) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.db != nil {
		_ = w.db.Close() // it was only read
	}
}
