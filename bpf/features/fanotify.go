package features

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// fanotifyProbes marks the lab's own file system and runs a script from it.
func fanotifyProbes(ctx context.Context, l *lab) []Result {
	queue := Result{Feature: FanotifyQueue, Answer: Yes}
	flags := uint(unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_QUEUE)
	fd, err := unix.FanotifyInit(flags, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		queue = refused(FanotifyQueue, fmt.Errorf("open fanotify: %w", err))
		return []Result{queue, unasked(FanotifyExec, queue), unasked(FanotifyMark, queue), unasked(FanotifyIgnore, queue)}
	}
	defer unix.Close(fd)
	s := quiet()
	program, err := l.install("quiet", s)
	if err != nil {
		failed := Result{Reason: err.Error()}
		return []Result{queue, unasked(FanotifyExec, failed), unasked(FanotifyMark, failed), unasked(FanotifyIgnore, failed)}
	}
	defer program.Close()
	events := func() (int, error) {
		if err := l.run(ctx, program, s); err != nil {
			return 0, err
		}
		return execEvents(fd)
	}
	exec := marked(FanotifyExec, 1, fd, unix.FAN_MARK_ADD, program, events)
	_ = unix.FanotifyMark(fd, unix.FAN_MARK_FLUSH, 0, int(program.Fd()), "")
	mark := marked(FanotifyMark, 1, fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, program, events)
	ignore := unasked(FanotifyIgnore, mark)
	if mark.Answer == Yes {
		ignore = marked(FanotifyIgnore, 0, fd,
			unix.FAN_MARK_ADD|unix.FAN_MARK_IGNORED_MASK|unix.FAN_MARK_EVICTABLE, program, events)
	}
	return []Result{queue, exec, mark, ignore}
}

// unasked is the result of a probe that another one's answer made pointless.
func unasked(f Feature, why Result) Result {
	return Result{Feature: f, Answer: why.Answer, Reason: why.Reason}
}

// marked sets a mark and compares the events of one exec with what it wants.
func marked(f Feature, want, fd int, flags uint, on *os.File, events func() (int, error)) Result {
	if err := unix.FanotifyMark(fd, flags, unix.FAN_OPEN_EXEC, int(on.Fd()), ""); err != nil {
		return refused(f, fmt.Errorf("set mark: %w", err))
	}
	switch got, err := events(); {
	case err != nil:
		return Result{Feature: f, Reason: err.Error()}
	case got != want:
		return Result{Feature: f, Answer: No, Reason: fmt.Sprintf("%d events for one exec, want %d", got, want)}
	}
	return Result{Feature: f, Answer: Yes}
}

// execEvents counts the FAN_OPEN_EXEC events that are queued.
func execEvents(fd int) (int, error) {
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read fanotify events: %w", err)
	}
	count := 0
	for buf = buf[:n]; len(buf) >= unix.FAN_EVENT_METADATA_LEN; {
		size := binary.NativeEndian.Uint32(buf)
		mask := binary.NativeEndian.Uint64(buf[8:])
		file := int32(binary.NativeEndian.Uint32(buf[16:]))
		if file >= 0 {
			unix.Close(int(file))
		}
		if mask&unix.FAN_OPEN_EXEC != 0 {
			count++
		}
		if size < unix.FAN_EVENT_METADATA_LEN || int(size) > len(buf) {
			return count, fmt.Errorf("fanotify event of %d bytes", size)
		}
		buf = buf[size:]
	}
	return count, nil
}
