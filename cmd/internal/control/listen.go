package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// SocketName is the socket's name inside the state directory.
const SocketName = "control.sock"

// socketMode lets the group connect; writing is what connect needs.
const socketMode = 0o660

// ErrInUse says that somebody answers on the socket.
var ErrInUse = errors.New("another snitch listens on the control socket")

// Listen makes the socket in dir. A stale one, on which nobody listens, is
// removed; anything else under that name is left alone and an error. The socket
// is bound under a private name, given its mode and group, and then renamed:
// nobody can connect before that.
func Listen(dir string, access Access) (*net.UnixListener, error) {
	return ListenAs(dir, SocketName, access)
}

// ListenAs is Listen for a socket with another name.
func ListenAs(dir, name string, access Access) (*net.UnixListener, error) {
	// Through a descriptor of the directory: paths longer than a socket address
	// work, and a directory that is swapped meanwhile does not matter.
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer d.Close()
	base := fmt.Sprintf("/proc/self/fd/%d", d.Fd())
	if err := removeStale(base, name); err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	fresh := fmt.Sprintf(".%s.%d", name, os.Getpid())
	if err := os.Remove(filepath.Join(base, fresh)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(base, fresh), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", dir, err)
	}
	l.SetUnlinkOnClose(false) // the descriptor in its name is closed by then
	if err := publish(int(d.Fd()), base, fresh, name, access); err != nil {
		return nil, errors.Join(fmt.Errorf("listen in %s: %w", dir, err), l.Close(), os.Remove(filepath.Join(base, fresh)))
	}
	return l, nil
}

func publish(dir int, base, fresh, name string, access Access) error {
	path := filepath.Join(base, fresh)
	if access.Group >= 0 {
		if err := os.Lchown(path, -1, access.Group); err != nil {
			return err
		}
	}
	// The name was made by us in a directory that only we may write to.
	if err := os.Chmod(path, socketMode); err != nil {
		return err
	}
	return unix.Renameat2(dir, fresh, dir, name, unix.RENAME_NOREPLACE)
}

// removeStale removes a socket that nobody listens on.
func removeStale(base, name string) error {
	path := filepath.Join(base, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", name)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(ErrInUse, conn.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("try the old socket: %w", err)
	}
	return os.Remove(path)
}

// Remove removes the socket that Listen made in dir, at the daemon's end.
func Remove(dir string) error { return RemoveAs(dir, SocketName) }

// RemoveAs removes the one that ListenAs made.
func RemoveAs(dir, name string) error {
	err := os.Remove(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
