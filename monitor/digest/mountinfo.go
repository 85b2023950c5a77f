package digest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxMounts bounds what is kept of mountinfo; the kernel's own default bound is
// fs.mount-max = 100,000 for one namespace.
const maxMounts = 100_000

// maxMountLine bounds one line: root and mount point are paths of at most 4 KiB
// each, every byte of which may be escaped to four; overlay options are longer.
const maxMountLine = 256 << 10

// mount is one line of mountinfo.
type mount struct {
	id     uint64
	dev    uint64 // superblock, kernel encoding
	family family
	point  string
}

// parseMountinfo reads proc_pid_mountinfo(5). A line that does not parse is
// left out and counted: users choose parts of it (mount points, FUSE sources),
// and one line must not cost the others.
func parseMountinfo(r io.Reader) (mounts []mount, bad int, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 8<<10), maxMountLine)
	for lines.Scan() {
		m, err := parseMount(lines.Bytes())
		if err != nil || len(mounts) == maxMounts {
			bad++
			continue
		}
		mounts = append(mounts, m)
	}
	if err := lines.Err(); err != nil {
		return nil, bad, fmt.Errorf("read mountinfo: %w", err)
	}
	return mounts, bad, nil
}

// parseMount reads "36 35 98:0 /root /point opts tag:1 - ext4 /dev/sda rw".
func parseMount(line []byte) (mount, error) {
	head, tail, ok := bytes.Cut(line, []byte(" - "))
	if !ok {
		return mount{}, fmt.Errorf("parse mount: no separator")
	}
	fields := bytes.SplitN(head, []byte(" "), 6)
	if len(fields) < 6 {
		return mount{}, fmt.Errorf("parse mount: %d fields, want 6", len(fields))
	}
	id, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return mount{}, fmt.Errorf("parse mount id: %w", err)
	}
	dev, err := parseDevice(string(fields[2]))
	if err != nil {
		return mount{}, err
	}
	kind, _, _ := bytes.Cut(tail, []byte(" "))
	return mount{id: id, dev: dev, family: familyOfName(string(kind)), point: unescape(string(fields[4]))}, nil
}

func parseDevice(s string) (uint64, error) {
	high, low, ok := strings.Cut(s, ":")
	if !ok {
		return 0, fmt.Errorf("parse device %q: no colon", s)
	}
	major, err := strconv.ParseUint(high, 10, 12)
	if err != nil {
		return 0, fmt.Errorf("parse device %q: %w", s, err)
	}
	minor, err := strconv.ParseUint(low, 10, 20)
	if err != nil {
		return 0, fmt.Errorf("parse device %q: %w", s, err)
	}
	return major<<20 | minor, nil
}

// unescape undoes the kernel's \ooo for space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
