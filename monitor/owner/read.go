package owner

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const md5Size = md5.Size

var errDeadline = errors.New("the file did not answer in time")

// sums are two digests of one reading of one file.
type sums struct {
	md5    [md5.Size]byte
	sha256 event.Digest
}

// reader reads files for their digests, one at a time. A file system that does
// not answer keeps its goroutine, and only that; meanwhile every file is late.
type reader struct {
	root     string
	max      int64
	deadline time.Duration
	busy     chan struct{} // capacity 1: taken while a file is read
	quit     chan struct{}
}

type sumsResult struct {
	sums
	err error
}

func newReader(root string, most int64, deadline time.Duration) *reader {
	return &reader{root: root, max: most, deadline: deadline, busy: make(chan struct{}, 1), quit: make(chan struct{})}
}

// close ends a reading between two blocks.
func (r *reader) close() { close(r.quit) }

// sums reads both digests in one pass: that the SHA-256 is the executed file's
// proves that the MD5 is.
func (r *reader) sums(ctx context.Context, path string) (sums, error) {
	timer := time.NewTimer(r.deadline)
	defer timer.Stop()
	select {
	case r.busy <- struct{}{}:
	case <-timer.C:
		return sums{}, errDeadline
	case <-ctx.Done():
		return sums{}, ctx.Err()
	}
	result := make(chan sumsResult, 1)
	go func() {
		s, err := r.digest(path)
		<-r.busy
		result <- sumsResult{s, err}
	}()
	select {
	case got := <-result:
		return got.sums, got.err
	case <-timer.C:
		return sums{}, errDeadline
	case <-ctx.Done():
		return sums{}, ctx.Err()
	}
}

func (r *reader) digest(path string) (sums, error) {
	f, err := os.OpenFile(filepath.Join("/", r.root, path), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return sums{}, fmt.Errorf("read file of a package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sums{}, fmt.Errorf("read file of a package: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > r.max {
		return sums{}, fmt.Errorf("read file of a package: %s is no regular file of at most %d bytes", path, r.max)
	}
	weak, strong := md5.New(), sha256.New()
	both := io.MultiWriter(weak, strong)
	block := make([]byte, 256<<10)
	for left := r.max; left >= 0; {
		n, err := f.Read(block)
		left -= int64(n)
		_, _ = both.Write(block[:n]) // a hash takes everything
		if errors.Is(err, io.EOF) {
			var s sums
			weak.Sum(s.md5[:0])
			strong.Sum(s.sha256[:0])
			return s, nil
		}
		if err != nil {
			return sums{}, fmt.Errorf("read file of a package: %w", err)
		}
		select {
		case <-r.quit:
			return sums{}, context.Canceled
		default:
		}
	}
	return sums{}, fmt.Errorf("read file of a package: %s grew past %d bytes", path, r.max)
}
