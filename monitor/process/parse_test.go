package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	const tail = " 77 1 1 0 -1 %d 99 0 0 0 0 0 0 0 20 0 1 0 123406 3133440 383 18446744073709551615 1 1 0"
	tests := map[string]struct {
		line string
		want stat
		fail bool
	}{
		"plain":               {line: "8646 (cat) R" + fmt.Sprintf(tail, 4194304), want: stat{comm: "cat", parent: 77, tick: 123406}},
		"kernel thread":       {line: "2 (kthreadd) S" + fmt.Sprintf(tail, 2129984), want: stat{comm: "kthreadd", parent: 77, tick: 123406, kernel: true}},
		"name closes early":   {line: "9 (a) R 1 2 3) S" + fmt.Sprintf(tail, 0), want: stat{comm: "a) R 1 2 3", parent: 77, tick: 123406}},
		"name with newline":   {line: "9 (a\nb) S" + fmt.Sprintf(tail, 0), want: stat{comm: "a\nb", parent: 77, tick: 123406}},
		"empty name":          {line: "9 () S" + fmt.Sprintf(tail, 0), want: stat{parent: 77, tick: 123406}},
		"empty":               {fail: true},
		"no name":             {line: "9 S 1 2 3", fail: true},
		"cut before start":    {line: "9 (a) S 1 2 3 4 5 6 7 8 9", fail: true},
		"negative start":      {line: "9 (a) S" + strings.Replace(fmt.Sprintf(tail, 0), "123406", "-1", 1), fail: true},
		"parent out of range": {line: "9 (a) S 4294967296 1 1", fail: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fail {
				t.Fatalf("parseStat = %+v, %v; want failure %v", got, err, tt.fail)
			}
			if err == nil && got != tt.want {
				t.Errorf("parseStat = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// What the running kernel writes is read, and is the same as other sources say.
func TestParseOwn(t *testing.T) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseStat(b)
	if err != nil || s.parent != uint32(os.Getppid()) || s.tick == 0 || s.kernel {
		t.Errorf("parseStat(own) = %+v, %v; parent is %d", s, err, os.Getppid())
	}
	if b, err = os.ReadFile("/proc/self/status"); err != nil {
		t.Fatal(err)
	}
	uid, gid, err := parseStatus(b)
	if err != nil || uid != uint32(os.Getuid()) || gid != uint32(os.Getgid()) {
		t.Errorf("parseStatus(own) = %d, %d, %v; want %d, %d", uid, gid, err, os.Getuid(), os.Getgid())
	}
	if b, err = os.ReadFile("/proc/self/cmdline"); err != nil {
		t.Fatal(err)
	}
	args, cut := parseArgs(b, 1<<20)
	if diff := cmp.Diff(os.Args, args); diff != "" || cut {
		t.Errorf("parseArgs(own), cut %v: (-want +got)\n%s", cut, diff)
	}
	if b, err = os.ReadFile("/proc/self/mountinfo"); err != nil {
		t.Fatal(err)
	}
	if got, want := len(parseMounts(b)), bytes.Count(b, []byte("\n")); got != want {
		t.Errorf("parseMounts(own) = %d mounts, want %d", got, want)
	}
	if b, err = os.ReadFile("/proc/self/cgroup"); err != nil {
		t.Fatal(err)
	}
	if got, want := len(parseHierarchies(b)), bytes.Count(b, []byte("\n")); got != want {
		t.Errorf("parseHierarchies(own) = %d lines, want %d", got, want)
	}
}

func TestParseArgs(t *testing.T) {
	tests := map[string]struct {
		in    string
		limit int
		want  []string
		cut   bool
	}{
		"kernel thread":    {limit: 10},
		"usual":            {in: "ls\x00-l\x00", limit: 10, want: []string{"ls", "-l"}},
		"empty arguments":  {in: "sh\x00\x00\x00", limit: 10, want: []string{"sh", "", ""}},
		"title without 0":  {in: "nginx: worker", limit: 20, want: []string{"nginx: worker"}},
		"one empty":        {in: "\x00", limit: 10, want: []string{""}},
		"exactly at limit": {in: "ab\x00cd\x00", limit: 6, want: []string{"ab", "cd"}},
		"cut":              {in: "ab\x00cdef\x00", limit: 5, want: []string{"ab", "cd"}, cut: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, cut := parseArgs([]byte(tt.in), tt.limit)
			if diff := cmp.Diff(tt.want, got); diff != "" || cut != tt.cut {
				t.Errorf("parseArgs cut %v want %v (-want +got):\n%s", cut, tt.cut, diff)
			}
		})
	}
}

func TestParseMounts(t *testing.T) {
	const in = `22 27 0:21 / /proc rw,relatime - proc proc rw
36 35 98:17 /mnt1 /mnt2\040with\134blank rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw
garbage
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
42 31 x:38 / /x rw - tmpfs tmpfs rw
43 31 0:39 / /nosep rw shared:1
`
	want := []mount{
		{id: 22, dev: 21, root: "/", point: "/proc", fs: "proc"},
		{id: 36, dev: 98<<20 | 17, root: "/mnt1", point: `/mnt2 with\blank`, fs: "ext3"},
		{id: 41, dev: 38, root: "/", point: "/sys/fs/cgroup/unified", fs: "cgroup2"},
	}
	if diff := cmp.Diff(want, parseMounts([]byte(in)), cmp.AllowUnexported(mount{})); diff != "" {
		t.Errorf("parseMounts (-want +got):\n%s", diff)
	}
}

func TestParseHierarchies(t *testing.T) {
	const in = "9:name=systemd:/system.slice/a:b.service\n4:cpu,cpuacct:/\n0::/user.slice (deleted)\nbad\n1:x:relative\n"
	want := []hierarchy{
		{name: "name=systemd", path: "/system.slice/a:b.service"},
		{name: "cpu,cpuacct", path: "/"},
		{unified: true, path: "/user.slice"},
	}
	if diff := cmp.Diff(want, parseHierarchies([]byte(in)), cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Errorf("parseHierarchies (-want +got):\n%s", diff)
	}
}

func TestParseNamespace(t *testing.T) {
	if n, err := parseNamespace("net:[4026531833]"); n != 4026531833 || err != nil {
		t.Errorf("parseNamespace = %d, %v", n, err)
	}
	for _, bad := range []string{"", "net", "net:[]", "net:[-1]", "net:[4294967296]", "/etc/passwd"} {
		if n, err := parseNamespace(bad); err == nil {
			t.Errorf("parseNamespace(%q) = %d, want an error", bad, n)
		}
	}
}
