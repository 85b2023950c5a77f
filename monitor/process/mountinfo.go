package process

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// mount is one line of /proc/PID/mountinfo.
type mount struct {
	id    uint64
	dev   uint64 // the superblock's s_dev, major<<20|minor: what the kernel's inode shows
	root  string // directory of the file system that is mounted
	point string // where, seen from the reader's root
	fs    string // file system type
}

// parseMounts reads mountinfo, proc_pid_mountinfo(5). A line that is not
// understood is left out: one odd mount must not hide the others.
func parseMounts(b []byte) []mount {
	var out []mount
	for line := range bytes.Lines(b) {
		if m, err := parseMount(string(line)); err == nil {
			out = append(out, m)
		}
	}
	return out
}

func parseMount(line string) (mount, error) {
	// The kernel escapes blanks, but not all that Unicode calls so.
	f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(f) < 7 {
		return mount{}, fmt.Errorf("read mount: %w", errShort)
	}
	var m mount
	var err error
	if m.id, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return mount{}, fmt.Errorf("read mount id: %w", err)
	}
	major, minor, _ := strings.Cut(f[2], ":")
	hi, err := strconv.ParseUint(major, 10, 32)
	if err != nil {
		return mount{}, fmt.Errorf("read major device number: %w", err)
	}
	lo, err := strconv.ParseUint(minor, 10, 32)
	if err != nil {
		return mount{}, fmt.Errorf("read minor device number: %w", err)
	}
	m.dev, m.root, m.point = kernelDev(uint32(hi), uint32(lo)), unescapeMount(f[3]), unescapeMount(f[4])
	// Optional fields end at a lone hyphen; the type follows.
	for i := 6; i+1 < len(f); i++ {
		if f[i] == "-" {
			m.fs = f[i+1]
			return m, nil
		}
	}
	return mount{}, fmt.Errorf("read mount type: %w", errShort)
}

// kernelDev is the kernel's encoding of a device number (MKDEV), which is not
// that of stat(2).
func kernelDev(major, minor uint32) uint64 { return uint64(major)<<20 | uint64(minor) }

// unescapeMount undoes \ooo, which the kernel writes for blanks and backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
