package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func seedFile(f *testing.F, path string) {
	f.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

// A name cannot move the fields behind it, whatever its bytes are.
func FuzzStat(f *testing.F) {
	seedFile(f, "/proc/self/stat")
	f.Add([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 24 0"))
	f.Add([]byte("a) S 1 ("))
	f.Add([]byte(") 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && !bytes.Contains(b, []byte(s.comm)) {
			t.Errorf("name %q is not in the input", s.comm)
		}
		line := fmt.Sprintf("7 (%s) S 5 0 0 0 -1 2097152 0 0 0 0 0 0 0 0 20 0 1 0 99 0 0\n", b)
		s, err := parseStat([]byte(line))
		if want := (stat{comm: string(b), parent: 5, kernel: true, tick: 99}); err != nil || s != want {
			t.Errorf("parseStat(%q) = %+v, %v; want %+v", line, s, err, want)
		}
	})
}

// The kernel escapes newlines in the name: only then nothing can be forged.
func FuzzStatus(f *testing.F) {
	seedFile(f, "/proc/self/status")
	f.Add([]byte("Uid:\t0\t0\t0\t0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = parseStatus(b) // must not panic
		name := strings.ReplaceAll(string(b), "\n", `\n`)
		uid, gid, err := parseStatus([]byte("Name:\t" + name + "\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"))
		if err != nil || uid != 1 || gid != 5 {
			t.Errorf("parseStatus with name %q = %d, %d, %v", name, uid, gid, err)
		}
	})
}

func FuzzArgs(f *testing.F) {
	seedFile(f, "/proc/self/cmdline")
	f.Add([]byte("a\x00\x00b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 64
		args, cut := parseArgs(b, limit)
		joined := strings.Join(args, "\x00")
		want := b[:min(len(b), limit)]
		if cut != (len(b) > limit) || !bytes.Equal(bytes.TrimSuffix(want, []byte{0}), []byte(joined)) {
			t.Errorf("parseArgs(%q) = %q, %v", b, args, cut)
		}
	})
}

// A mount point may hold any byte but NUL; the kernel escapes those that would
// end the field.
func FuzzMounts(f *testing.F) {
	seedFile(f, "/proc/self/mountinfo")
	f.Add([]byte(`1 2 3:4 / /a\040b rw - ext4 x rw`))
	f.Add([]byte(`\04`))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseMounts(b) // must not panic
		if bytes.IndexByte(b, 0) >= 0 {
			return
		}
		point := "/" + strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(string(b))
		list := parseMounts([]byte("5 1 8:1 / " + point + " rw shared:1 - ext4 /dev/sda1 rw\n"))
		if len(list) != 1 || list[0].point != "/"+string(b) || list[0].dev != 8<<20|1 {
			t.Errorf("parseMounts with point %q = %+v", point, list)
		}
	})
}

func FuzzHierarchies(f *testing.F) {
	seedFile(f, "/proc/self/cgroup")
	f.Add([]byte("0::/a (deleted)\n1:name=systemd:/b:c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, h := range parseHierarchies(b) {
			if !strings.HasPrefix(h.path, "/") || strings.Contains(h.path, "\n") || h.unified && h.name != "" {
				t.Errorf("parseHierarchies(%q) has %+v", b, h)
			}
		}
	})
}

// What is said of a cgroup path is a part of it with signs that are safe to show.
func FuzzCgroupPath(f *testing.F) {
	for _, tt := range cgroupPaths {
		f.Add(tt.path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		unit, container := Unit(path), Container(path)
		manager, inner, both := strings.Cut(unit, "/")
		if unit != "" && !isUnit(manager) || both && (!isUnit(inner) || !strings.HasPrefix(manager, "user@")) {
			t.Errorf("Unit(%q) = %q", path, unit)
		}
		if !strings.Contains(path, manager) {
			t.Errorf("Unit(%q) = %q is not in the path", path, unit)
		}
		if container != "" && !isID(container) && !validName(container, containerSigns) {
			t.Errorf("Container(%q) = %q", path, container)
		}
		// A system's unit cannot be had from below a user's manager.
		if u := Unit("/user.slice/user-1000.slice/user@1000.service/" + path); u != "" && !strings.HasPrefix(u, "user@1000.service") {
			t.Errorf("below a user's manager: unit %q", u)
		}
	})
}

func FuzzScript(f *testing.F) {
	for _, tt := range scriptCases {
		f.Add(tt.exe, strings.Join(tt.args, "\x00"))
	}
	table := interpreters()
	f.Fuzz(func(t *testing.T, exe, joined string) {
		args := strings.Split(joined, "\x00")
		script, _ := scriptArg(table, exe, args)
		if script != "" && !strings.Contains(joined, script) {
			t.Errorf("scriptArg(%q, %q) = %q, which is no argument", exe, args, script)
		}
	})
}
