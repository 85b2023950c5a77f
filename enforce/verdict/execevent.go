package verdict

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// heldExec is one exec that waits for an answer. file is nil for an event that
// needs none.
type heldExec struct {
	file *os.File
	pid  uint32 // thread group
}

// execHeader is the size of struct fanotify_event_metadata: u32 length, u8
// version, u8 reserved, u16 header length, u64 mask, s32 fd, s32 pid.
const execHeader = 24

var errExecEvent = errors.New("a fanotify event makes no sense")

// nextExec cuts one event from a buffer. After an error the rest cannot be
// trusted.
func nextExec(buf []byte) (e heldExec, rest []byte, err error) {
	if len(buf) < execHeader || buf[4] != unix.FANOTIFY_METADATA_VERSION {
		return e, nil, fmt.Errorf("%w: %d bytes", errExecEvent, len(buf))
	}
	length := binary.NativeEndian.Uint32(buf)
	if length < execHeader || uint64(length) > uint64(len(buf)) {
		return e, nil, fmt.Errorf("%w: length %d of %d", errExecEvent, length, len(buf))
	}
	rest = buf[length:]
	fd := int32(binary.NativeEndian.Uint32(buf[16:]))
	if fd < 0 || binary.NativeEndian.Uint64(buf[8:])&unix.FAN_OPEN_EXEC_PERM == 0 {
		return e, rest, nil
	}
	return heldExec{file: os.NewFile(uintptr(fd), "program"), pid: binary.NativeEndian.Uint32(buf[20:])}, rest, nil
}

// allowExec is struct fanotify_response: s32 fd, u32 response.
func allowExec(fd int32) []byte {
	var b [8]byte
	binary.NativeEndian.PutUint32(b[:], uint32(fd))
	binary.NativeEndian.PutUint32(b[4:], unix.FAN_ALLOW)
	return b[:]
}
