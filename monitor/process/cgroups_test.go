package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// ownCgroup makes a cgroup below the v2 root.
func ownCgroup(t *testing.T, b *bench, name string) (dir string, id uint64) {
	t.Helper()
	bpftest.Need(t, &bpftest.Feature{Name: "cgroup2-mount", Probe: func() error {
		if b.cgroups.mount < 0 {
			return errors.New("no cgroup2 is mounted")
		}
		return nil
	}})
	top := filepath.Join(b.cgroups.point, "snitch-process-"+strconv.Itoa(os.Getpid())+".slice")
	dir = filepath.Join(top, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Remove(dir)
		if err := os.Remove(top); err != nil {
			t.Errorf("leave a cgroup behind: %v", err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return dir, st.Ino
}

func TestRealCgroup(t *testing.T) {
	b := newBench(t)
	name := "docker-" + id1 + ".scope"
	dir, id := ownCgroup(t, b, name)
	sh := shell(t, t.TempDir(), "sh")
	cmd := isolated(t, "mount --bind /bin/busybox "+sh+"; exec "+sh+" -c '"+waiting+"'", 0)
	pid := start(t, cmd)
	procs := filepath.Join(dir, "cgroup.procs")
	if err := os.WriteFile(procs, []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	want := event.Cgroup{ID: id, Path: dir[len(b.cgroups.point):], Unit: name, Container: id1}

	e := observed(t, pid, 2)
	e.CgroupID = id
	b.Exec(e)
	p := b.settled(e.ID)
	if p.Cgroup != want {
		t.Errorf("cgroup by id is %+v, want %+v", p.Cgroup, want)
	}
	if x := p.Executable; x.View != "container:"+id1 || x.Path != sh {
		t.Errorf("executable %q in view %q, want the container's", x.Path, x.View)
	}
	if p := newBench(t).settled(e.ID); p.Cgroup != want {
		t.Errorf("cgroup by /proc is %+v, want %+v", p.Cgroup, want)
	}

	// It stays known when it is gone, and to those who never saw it it is not.
	if err := os.WriteFile(filepath.Join(b.cgroups.point, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if got := b.Cgroup(id, event.ProcessID{}); got != want {
		t.Errorf("deleted cgroup is %+v, want %+v", got, want)
	}
	if got := newBench(t).Cgroup(id, event.ProcessID{}); got != (event.Cgroup{ID: id}) {
		t.Errorf("a cgroup that was deleted before is %+v", got)
	}
}

func TestCgroupCacheIsBounded(t *testing.T) {
	c := &cgroups{mount: -1, young: map[uint64]event.Cgroup{}}
	c.keep(event.Cgroup{ID: 1, Path: "/kept"})
	for id := uint64(2); id < 5*maxCgroups; id++ {
		c.keep(event.Cgroup{ID: id})
		if id%100 == 0 && c.get(1).Path != "/kept" {
			t.Fatalf("a cgroup in use was forgotten after %d others", id)
		}
	}
	if n := len(c.young) + len(c.old); n > 2*maxCgroups {
		t.Errorf("%d cgroups are kept, want at most %d", n, 2*maxCgroups)
	}
}

func TestIdentify(t *testing.T) {
	const systemd, memory = "9:name=systemd:%s\n", "4:memory:%s\n"
	tests := map[string]struct {
		mixed bool
		known string // path of the id, "" if it is not known
		lines string
		want  string
	}{
		"v2":                         {known: "/a.slice/b.service", lines: fmt.Sprintf(systemd, "/other.service"), mixed: true, want: "/a.slice/b.service"},
		"v2 root, hybrid":            {known: "/", lines: fmt.Sprintf(systemd, "/system.slice/b.service") + "0::/\n", mixed: true, want: "/system.slice/b.service"},
		"v2 root, no systemd":        {known: "/", lines: fmt.Sprintf(memory, "/docker/"+id1) + "0::/\n", mixed: true, want: "/docker/" + id1},
		"v2 root, a limit only":      {known: "/", lines: fmt.Sprintf(memory, "/limits/x") + "0::/\n", mixed: true, want: "/"},
		"unified host does not read": {known: "/", lines: fmt.Sprintf(systemd, "/wrong.service"), want: "/"},
		"id unknown":                 {lines: "0::/a.slice/c.service\n", want: "/a.slice/c.service"},
		"nothing known":              {want: ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &cgroups{mount: -1, mixed: tt.mixed, young: map[uint64]event.Cgroup{}}
			if tt.known != "" {
				c.keep(named(5, tt.known))
			}
			got := c.identify(5, func() []hierarchy { return parseHierarchies([]byte(tt.lines)) })
			want := event.Cgroup{ID: 5, Path: tt.want, Unit: Unit(tt.want), Container: Container(tt.want)}
			if got != want {
				t.Errorf("identify = %+v, want %+v", got, want)
			}
		})
	}
}
