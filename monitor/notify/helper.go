package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// RuntimeDirs is where each person's message bus listens, at UID/bus.
const RuntimeDirs = "/run/user"

// Helper is the work of a helper process: it runs as a person, shows the toasts
// that the core sends on that person's desktop and tells what was clicked. It
// returns nil when in ends, and an error when the message bus does.
func Helper(ctx context.Context, in io.Reader, out io.Writer) error {
	conn, err := dialBus(ctx, busDir(RuntimeDirs, uint32(os.Getuid())), uint32(os.Getuid()))
	if err != nil {
		return err
	}
	return serveDesktop(ctx, conn, in, out)
}

// dialBus connects to the bus of uid, whose server must run as uid too.
func dialBus(ctx context.Context, dir string, uid uint32) (*dbus.Conn, error) {
	if err := checkBus(dir, uid); err != nil {
		return nil, err
	}
	socket, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "bus"))
	if err != nil {
		return nil, fmt.Errorf("connect to the session bus: %w", err)
	}
	if err := checkPeer(socket, uid); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	// Not as a Unix connection: nobody shall pass descriptors.
	conn, err := dbus.NewConn(struct{ io.ReadWriteCloser }{socket}, dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("talk to the session bus: %w", err), socket.Close())
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(uid))}); err != nil {
		return nil, errors.Join(fmt.Errorf("log in at the session bus: %w", err), conn.Close())
	}
	if err := conn.Hello(); err != nil {
		return nil, errors.Join(fmt.Errorf("greet the session bus: %w", err), conn.Close())
	}
	return conn, nil
}

func checkPeer(socket net.Conn, uid uint32) error {
	u, ok := socket.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("session bus is a %T", socket)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at the session bus: %w", err)
	}
	var peer *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) { peer, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return fmt.Errorf("look at the session bus: %w", err)
	}
	if optErr != nil {
		return fmt.Errorf("look at the session bus: %w", optErr)
	}
	if peer.Uid != uid {
		return fmt.Errorf("the session bus is served by user %d, want %d", peer.Uid, uid)
	}
	return nil
}

// serveDesktop owns conn and closes it. Its reader of in is not joined: standard
// input cannot be woken, and the process ends with this function.
func serveDesktop(ctx context.Context, conn *dbus.Conn, in io.Reader, out io.Writer) error {
	defer conn.Close()
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	d := newDesktop(conn, out)
	if err := d.listen(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	toasts := make(chan toast)
	go func() { cancel(readToasts(ctx, in, toasts)) }()
	err := d.run(ctx, toasts, signals)
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, io.EOF) {
		return cause
	}
	return err
}

// readToasts returns io.EOF when in ends.
func readToasts(ctx context.Context, in io.Reader, toasts chan<- toast) error {
	lines := newLineReader(in)
	for {
		var t toast
		if err := lines.read(&t); err != nil {
			return err
		}
		select {
		case toasts <- t:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
