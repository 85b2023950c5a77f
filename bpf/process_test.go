package bpf

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func decode[T any](t *testing.T, raw []byte) (v T, rest []byte) {
	t.Helper()
	size := int(unsafe.Sizeof(v))
	if len(raw) < size {
		t.Fatalf("record of %d bytes, want at least %d", len(raw), size)
	}
	_, err := binary.Decode(raw[:size], binary.NativeEndian, &v)
	must(t, err)
	return v, raw[size:]
}

func text(b []int8) string {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b))
	s, _, _ := bytes.Cut(raw, []byte{0})
	return string(s)
}

// pollUntil polls until handle is satisfied.
func pollUntil(t *testing.T, k *Kernel, handle func(raw []byte) bool) {
	t.Helper()
	done := false
	for deadline := time.Now().Add(10 * time.Second); !done; {
		if time.Now().After(deadline) {
			t.Fatal("the records did not come")
		}
		must(t, k.Poll(100*time.Millisecond, func(raw []byte) { done = handle(raw) || done }))
	}
}

// A process is seen from fork to exit, with file, arguments and parent.
func TestProcessRecords(t *testing.T) {
	k := load(t, Config{})
	long := strings.Repeat("x", 5000)
	script := t.TempDir() + "/script"
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755))
	for _, tt := range []struct {
		name           string
		args           []string
		loaded, interp string
		cut            bool
	}{
		{"plain", []string{"/bin/true", "", "a b", "ü"}, "/bin/true", "", false},
		{"long", []string{"/bin/true", long}, "/bin/true", "", true},
		{"script", []string{script, "one"}, "/bin/sh", "/bin/sh", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(tt.args[0], tt.args[1:]...)
			must(t, cmd.Start())
			pid := uint32(cmd.Process.Pid)
			must(t, cmd.Wait())
			var forked, execed, exited bool
			var id ProcessId
			pollUntil(t, k, func(raw []byte) bool {
				switch binary.NativeEndian.Uint16(raw) {
				case RecordFork:
					r, _ := decode[ForkRecord](t, raw)
					if r.Child.Pid == pid {
						forked = true
						if r.Parent.Pid != uint32(os.Getpid()) {
							t.Errorf("parent %d, want %d", r.Parent.Pid, os.Getpid())
						}
					}
				case RecordExec:
					r, rest := decode[ExecRecord](t, raw)
					if r.Id.Pid == pid {
						execed, id = true, r.Id
						checkExec(t, &r, rest, tt.args, tt.loaded, tt.interp, tt.cut)
					}
				case RecordExit:
					r, _ := decode[ExitRecord](t, raw)
					if r.Id.Pid == pid {
						exited = true
						if r.Id != id {
							t.Errorf("exit of %+v, exec of %+v", r.Id, id)
						}
					}
				}
				return exited
			})
			if !forked || !execed {
				t.Errorf("fork seen %v, exec seen %v", forked, execed)
			}
		})
	}
	noLosses(t, k)
}

func checkExec(t *testing.T, r *ExecRecord, rest []byte, args []string, loaded, interp string, cut bool) {
	t.Helper()
	want := strings.Join(args, "\x00") + "\x00"
	if interp != "" { // the kernel puts the interpreter before the script
		want = interp + "\x00" + want
	}
	if cut {
		want = want[:4096]
	}
	if got := string(rest[:r.ArgsLen]); got != want {
		t.Errorf("arguments %.80q, want %.80q", got, want)
	}
	if got := r.Flags&ExecArgsCut != 0; got != cut {
		t.Errorf("cut %v, want %v", got, cut)
	}
	if got := text(r.Filename[:]); got != args[0] {
		t.Errorf("filename %q, want %q", got, args[0])
	}
	if got := text(r.Interp[:]); got != interp {
		t.Errorf("interp %q, want %q", got, interp)
	}
	info, err := os.Stat(loaded)
	must(t, err)
	st := info.Sys().(*syscall.Stat_t)
	f := r.File
	if f.Inode != st.Ino || f.Size != st.Size || f.Mtime != st.Mtim.Nano() || f.Ctime != st.Ctim.Nano() || uint64(r.Nlink) != uint64(st.Nlink) {
		t.Errorf("file %+v, want %+v", f, st)
	}
	if r.Parent.Pid != uint32(os.Getpid()) || r.Uid != uint32(os.Getuid()) {
		t.Errorf("parent %d uid %d", r.Parent.Pid, r.Uid)
	}
	if int(r.Hdr.Len) != int(unsafe.Sizeof(*r))+int(r.ArgsLen) {
		t.Errorf("length %d", r.Hdr.Len)
	}
}

// A program without a path is marked.
func TestMemfdExec(t *testing.T) {
	k := load(t, Config{})
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self)
	must(t, err)
	fd, err := unix.MemfdCreate("hidden", 0)
	must(t, err)
	file := os.NewFile(uintptr(fd), "memfd")
	defer file.Close()
	_, err = file.Write(program)
	must(t, err)
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^$")
	cmd.ExtraFiles = []*os.File{file}
	must(t, cmd.Run())
	pollUntil(t, k, func(raw []byte) bool {
		if binary.NativeEndian.Uint16(raw) != RecordExec {
			return false
		}
		r, _ := decode[ExecRecord](t, raw)
		if r.Id.Pid != uint32(cmd.Process.Pid) {
			return false
		}
		if r.Flags&ExecMemFD == 0 || r.Nlink != 0 {
			t.Errorf("flags %d nlink %d, want a memfd", r.Flags, r.Nlink)
		}
		return true
	})
}

// The snapshot has this process, its parent and the kernel's threads, and the
// identities are those that flows carry.
func TestProcesses(t *testing.T) {
	k := load(t, Config{})
	var self ExecRecord
	threads := 0
	must(t, k.Processes(func(r *ExecRecord) {
		if r.Id.Pid == uint32(os.Getpid()) {
			self = *r
		}
		if r.Flags&ExecKThread != 0 {
			threads++
		}
	}))
	if self.Parent.Pid != uint32(os.Getppid()) || self.File.Inode == 0 || self.Netns == 0 {
		t.Errorf("this process is %+v", self)
	}
	if threads == 0 {
		t.Error("no kernel thread")
	}
	exe, err := os.Open("/proc/self/exe")
	must(t, err)
	defer exe.Close()
	const getVersion = 0x80087601 // FS_IOC_GETVERSION
	if want, err := unix.IoctlGetUint32(int(exe.Fd()), getVersion); err == nil && self.File.Generation != want {
		t.Errorf("generation %d, want %d", self.File.Generation, want)
	}
	s := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, s)
	must(t, unix.Sendto(s, []byte{1}, 0, localOf(t, s)))
	var id ProcessId
	must(t, k.Drain(func(f *Flow) { id = f.Key.Id }))
	if id != self.Id {
		t.Errorf("flow of %+v, want %+v", id, self.Id)
	}
}
