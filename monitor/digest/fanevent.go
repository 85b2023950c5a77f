package digest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// fanEvent is one struct fanotify_event_metadata. fd is open and belongs to
// whoever parsed it, or is negative.
type fanEvent struct {
	mask uint64
	fd   int32
	pid  int32 // thread group, in the reader's PID namespace; 0 if it has none there
}

// fanHeader is the size of the structure: u32 length, u8 version, u8 reserved,
// u16 header length, u64 mask, s32 fd, s32 pid, in the machine's byte order.
const fanHeader = 24

// nextEvent cuts one event from a buffer that read filled. After an error the
// rest cannot be trusted.
func nextEvent(buf []byte) (fanEvent, []byte, error) {
	if len(buf) < fanHeader {
		return fanEvent{}, nil, fmt.Errorf("parse fanotify event: %d bytes, want %d", len(buf), fanHeader)
	}
	if v := buf[4]; v != unix.FANOTIFY_METADATA_VERSION {
		return fanEvent{}, nil, fmt.Errorf("parse fanotify event: version %d, want %d", v, unix.FANOTIFY_METADATA_VERSION)
	}
	length := binary.NativeEndian.Uint32(buf[0:])
	header := uint32(binary.NativeEndian.Uint16(buf[6:]))
	if header < fanHeader || length < header || uint64(length) > uint64(len(buf)) {
		return fanEvent{}, nil, fmt.Errorf("parse fanotify event: length %d, header %d, %d bytes left", length, header, len(buf))
	}
	ev := fanEvent{
		mask: binary.NativeEndian.Uint64(buf[8:]),
		fd:   int32(binary.NativeEndian.Uint32(buf[16:])),
		pid:  int32(binary.NativeEndian.Uint32(buf[20:])),
	}
	return ev, buf[length:], nil
}
