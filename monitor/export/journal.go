package export

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// JournalSocket is where the journal listens.
const JournalSocket = "/run/systemd/journal/socket"

// journal is an Output that speaks the journal's native protocol. (The library
// that does has the socket's path built in, and one socket for the process.)
type journal struct {
	path string
	conn *net.UnixConn
}

// NewJournal sends items to the journal behind the socket at path, with their
// fields as SNITCH_*.
func NewJournal(path string) Output { return &journal{path: path} }

func (j *journal) Write(_ context.Context, items []Item) (taken int, err error) {
	lost := 0
	for i := range items {
		m, ok := messageOf(&items[i])
		if !ok {
			continue
		}
		if sendErr := j.send(journalEntry(&m)); sendErr != nil {
			lost, err = lost+1, sendErr
		}
	}
	return len(items) - lost, err
}

func (j *journal) send(entry []byte) error {
	if j.conn == nil {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: j.path, Net: "unixgram"})
		if err != nil {
			return fmt.Errorf("reach the journal: %w", err)
		}
		j.conn = conn
	}
	_, err := j.conn.Write(entry)
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		err = j.sendFile(entry)
	}
	if err != nil {
		_ = j.conn.Close() // the next entry tries anew: the journal may have been restarted
		j.conn = nil
		return fmt.Errorf("write to the journal: %w", err)
	}
	return nil
}

// sendFile passes an entry that is too long for a datagram as a sealed file in
// memory.
func (j *journal) sendFile(entry []byte) error {
	fd, err := unix.MemfdCreate("snitch-journal", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "snitch-journal")
	defer f.Close()
	if _, err := f.Write(entry); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return err
	}
	raw, err := j.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(socket uintptr) bool {
		sent = unix.Sendmsg(int(socket), nil, unix.UnixRights(int(f.Fd())), nil, unix.MSG_NOSIGNAL)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

func (j *journal) Close() error {
	if j.conn == nil {
		return nil
	}
	return j.conn.Close()
}

// journalEntry is a message in the native protocol: values with line ends are
// written with their length, so that none can begin a field of its own.
func journalEntry(m *message) []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if strings.ContainsAny(value, "\n\x00") {
			b.WriteString(name + "\n")
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(value))) // a Buffer takes all
			b.WriteString(value + "\n")
			return
		}
		b.WriteString(name + "=" + value + "\n")
	}
	field("MESSAGE", plainText(m.text, maxText))
	field("PRIORITY", fmt.Sprint(int(m.severity)))
	field("SYSLOG_IDENTIFIER", "snitch")
	field("SNITCH_MESSAGE", m.id)
	for _, f := range m.fields {
		if f.value != "" {
			field("SNITCH_"+strings.ToUpper(f.name), f.value)
		}
	}
	return b.Bytes()
}
