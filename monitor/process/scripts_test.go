package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"snitch/monitor/event"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkScript(t *testing.T, p *event.Process, path, view string) {
	t.Helper()
	if p.Script == nil {
		t.Fatal("no script")
	}
	if p.Script.Path != path || p.Script.View != view || p.Script.Reason != event.HashKnown {
		t.Errorf("script %q in view %q (%v), want %q in view %q", p.Script.Path, p.Script.View, p.Script.Reason, path, view)
	}
}

func TestRealScripts(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, filepath.Join(dir), "sh")
	script := write(t, filepath.Join(dir, "bin", "run.sh"), "#!"+sh+"\n"+waiting+"\n")
	if err := os.Symlink("run.sh", filepath.Join(dir, "bin", "link")); err != nil {
		t.Fatal(err)
	}
	sum := content(t, script)
	tests := map[string]struct {
		path, dir, filename, interp string
		args                        []string
	}{
		"number sign":          {path: script, filename: script, interp: sh},
		"number sign relative": {path: "bin/run.sh", dir: dir, filename: "bin/run.sh", interp: sh},
		"number sign symlink":  {path: "./link", dir: filepath.Join(dir, "bin"), filename: "./link", interp: sh},
		"argument":             {path: sh, filename: sh, args: []string{"sh", "-e", script}},
		"argument relative":    {path: sh, filename: sh, dir: filepath.Join(dir, "bin"), args: []string{"sh", "../bin/link", "x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := &exec.Cmd{Path: tt.path, Args: tt.args, Dir: tt.dir}
			if tt.args == nil {
				cmd.Args = []string{tt.path}
			}
			pid := start(t, cmd)
			e := observed(t, pid, 2)
			e.Filename, e.Interp = tt.filename, tt.interp
			b.Exec(e)
			p := b.settled(e.ID)
			checkExe(t, p, sh, "", event.ExecutableFile, content(t, sh))
			checkScript(t, p, script, "")
			if p.Script.SHA256 != sum {
				t.Errorf("script's digest %v, want %v", p.Script.SHA256, sum)
			}
			// Without a record the arguments tell.
			p = newBench(t).settled(e.ID)
			checkScript(t, p, script, "")
		})
	}
}

func TestRealNoScript(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "sh")
	pid := start(t, command(sh, "-c", waiting, "name"))
	e := observed(t, pid, 2)
	b.Exec(e)
	if p := b.settled(e.ID); p.Script != nil {
		t.Errorf("code on the command line is script %+v", p.Script)
	}
	// A pipe is no file: `bash <(…)`.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fmt.Fprintln(w, waiting)
	w.Close()
	cmd := command(sh, "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{r}
	e = observed(t, start(t, cmd), 2)
	b.Exec(e)
	if p := b.settled(e.ID); p.Script != nil {
		t.Errorf("a pipe is script %+v", p.Script)
	}
	// A descriptor of a file is one.
	file := write(t, filepath.Join(t.TempDir(), "s"), waiting+"\n")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd = command(sh, "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	e = observed(t, start(t, cmd), 2)
	b.Exec(e)
	checkScript(t, b.settled(e.ID), file, "")
	// A module is named.
	e.Filename, e.Args = "/usr/bin/python3", []string{"python3", "-m", "http.server"}
	e.ID.Exec, e.File.Inode = 1, 0
	b.Exec(e)
	if s := b.settled(e.ID).Script; s == nil || s.Path != "-m http.server" || s.Reason != event.HashNoFile {
		t.Errorf("module is script %+v", s)
	}
}

// A script of another mount namespace is the one of that namespace, also when
// a link there is absolute.
func TestRealScriptElsewhere(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	write(t, filepath.Join(dir, "s"), "host's script")
	pid := start(t, isolated(t, "mount -t tmpfs none "+dir+"; cp /bin/busybox "+sh+
		"; echo '"+waiting+"' >"+dir+"/s; ln -s "+dir+"/s "+dir+"/link; exec "+sh+" "+dir+"/link", 0))
	e := observed(t, pid, 2)
	b.Exec(e)
	p := b.settled(e.ID)
	checkScript(t, p, filepath.Join(dir, "s"), fmt.Sprintf("mnt:%d", e.MountNS))
	if want := content(t, fmt.Sprintf("/proc/%d/root%s/s", pid, dir)); p.Script.SHA256 != want {
		t.Errorf("digest %v, want that of the script in the namespace, %v", p.Script.SHA256, want)
	}
	// A service with private mounts runs the host's script.
	script := write(t, filepath.Join(t.TempDir(), "s"), waiting+"\n")
	e = observed(t, start(t, isolated(t, "mount -t tmpfs none /mnt; exec "+sh+" "+script, 0)), 2)
	b.Exec(e)
	checkScript(t, b.settled(e.ID), script, "")
}

func TestRealScriptGone(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	script := write(t, filepath.Join(dir, "s"), "#!"+sh+"\n"+waiting+"\n")
	cmd := &exec.Cmd{Path: script, Args: []string{script}}
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := observed(t, cmd.Process.Pid, 2)
	e.Filename, e.Interp = script, sh
	in.Close()
	_ = cmd.Wait()
	b.Exec(e)
	p := b.settled(e.ID)
	checkScript(t, p, script, event.ViewUnverified)
	if p.Executable.Path != sh || p.Executable.View != "" {
		t.Errorf("executable %+v, want the interpreter", p.Executable)
	}
	e.ID.Start += 5 * tickNanos
	e.Filename = "s"
	b.Exec(e)
	if s := b.settled(e.ID).Script; s == nil || s.Path != "s" || s.Reason != event.HashVanished {
		t.Errorf("relative script of a process that is gone: %+v", s)
	}
}
