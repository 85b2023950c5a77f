package reputation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// give uploads the file of p, if it still is the one that ran. What fails here is
// no reason to rest: the next file may be taken.
func (s *Service) give(ctx context.Context, p *event.Process) (Answer, bool) {
	f, size, err := openProgram(&p.Executable, s.cfg.MaxUpload)
	if err != nil {
		s.deps.Log.Info("a program is not uploaded", "error", err)
		return Answer{}, false
	}
	defer f.Close()
	re, err := s.talk(ctx, request{Op: opUpload, SHA256: p.Executable.SHA256, Size: size}, func(w io.Writer) error { return writeChunks(w, f, size) })
	if f := faultOfReply(re, err); f != nil {
		s.deps.Log.Warn("a program was not uploaded", "error", f.Error)
		return Answer{}, false
	}
	s.count(func(st *Stats) { st.Uploaded++ })
	return re.Answer, true
}

// openProgram opens the file of an executable at its beginning: a regular file of
// this host with the digest that ran, which is read once for that, and no larger
// than most. The helper reads the digest again while it sends: a file that is
// exchanged in between is not given away.
func openProgram(x *event.Executable, most int64) (f *os.File, size int64, err error) {
	if x.View != "" || x.Kind != event.ExecutableFile {
		return nil, 0, fmt.Errorf("%s is no file of this host", x.Path)
	}
	f, err = os.OpenFile(x.Path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open program: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	info, err := f.Stat()
	switch {
	case err != nil:
		return f, 0, fmt.Errorf("open program: %w", err)
	case !info.Mode().IsRegular():
		return f, 0, fmt.Errorf("%s is no regular file", x.Path)
	case info.Size() == 0 || info.Size() > most:
		return f, 0, fmt.Errorf("%s has %d bytes, at most %d are uploaded", x.Path, info.Size(), most)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, most+1))
	if err != nil {
		return f, 0, fmt.Errorf("read program: %w", err)
	}
	if n != info.Size() || event.Digest(sum.Sum(nil)) != x.SHA256 {
		return f, 0, fmt.Errorf("%s is not the file that ran", x.Path)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return f, 0, fmt.Errorf("read program: %w", err)
	}
	return f, n, nil
}
