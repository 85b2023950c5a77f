package scenario

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/bpf/bpftest"
)

// first is a way to begin, for a program that nobody has seen before.
type first struct {
	name  string
	image string // the program's file, "" for the generators
	args  string
	want  string // in what it prints
}

func firsts(getent string) []first {
	all := []first{
		{name: "tcp4", args: "stream -n 24 -reply 10 -to " + tcp4},
		{name: "tcp4-nonblock", args: "stream -nonblock -n 24 -reply 10 -to " + tcp4},
		{name: "udp", args: "datagram -count 2 -to " + udp4},
		{name: "quic-like", args: "datagram -connect -send write -recv read -size 1200 -count 4 -to " + udp4},
		{name: "tcp6", args: "stream -n 24 -reply 10 -to " + tcp6},
		{name: "tcp6-nonblock", args: "stream -nonblock -n 24 -reply 10 -to " + tcp6},
	}
	if getent != "" {
		all = append(all, first{name: "getaddrinfo", image: getent, args: "-s hosts:dns ahostsv4 " + answeredName, want: answeredWith})
	}
	return all
}

// newcomer is one such program: granted by its place or by its hash.
type newcomer struct {
	*first
	path string
	mark string // behind the end of the image
}

func (n *newcomer) run(l *lab, image []byte, at bpftest.Place) error {
	if err := os.WriteFile(n.path, append(image[:len(image):len(image)], n.mark...), 0o755); err != nil {
		return err
	}
	cmd := exec.Command(n.path, strings.Fields(n.args)...)
	cmd.Env = l.env
	out, err := output(cmd, at)
	if err == nil && !strings.Contains(out, n.want) {
		err = fmt.Errorf("it says %q, without %q", out, n.want)
	}
	if err != nil {
		return fmt.Errorf("%s (%s): %w", n.name, n.path, err)
	}
	return nil
}

func output(cmd *exec.Cmd, at bpftest.Place) (string, error) {
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := bpftest.Start(cmd, at); err != nil {
		return "", err
	}
	if err := waitFor(cmd, patience(30*time.Second)); err != nil {
		return "", fmt.Errorf("%w: %s", err, text.String())
	}
	return text.String(), nil
}

// digests tells the hashes of images with marks behind their ends.
type digests map[string][]byte // by image: the state of the hash after it

func (d digests) read(path string) ([]byte, error) {
	image, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(image)
	d[path], err = h.(encoding.BinaryMarshaler).MarshalBinary()
	return image, err
}

func (d digests) of(path, mark string) (string, error) {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(d[path]); err != nil {
		return "", err
	}
	h.Write([]byte(mark))
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// TestFirstConnections: while everything is denied that no rule allows, not one
// first connection fails of programs that are allowed and were never seen.
func TestFirstConnections(t *testing.T) {
	bpftest.CheckDescriptors(t)
	bpftest.Need(t, bpftest.IPv6())
	count := *newPrograms
	if testing.Short() {
		count = 20
	}
	bin := build(t, t.TempDir())
	l := newTwinLab(t, bin.traffic)
	getent, err := exec.LookPath("getent")
	if err != nil {
		t.Logf("getaddrinfo is left out: %v", err)
	}
	resolver(t, l.pair)
	list, images, rules := newcomers(t, l, firsts(getent), few(count))
	d := l.enforce(t, bin.snitch, rules)
	failed := meetPeer(t, l, list, images)
	d.stop(t, l.cgroup)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	granted := 0
	for _, row := range byCgroup(t, d)[l.cgroup.Path()+"/fresh"] {
		switch {
		case strings.HasPrefix(row.Rule, "by-") && row.Action == "allow":
			granted++
		case row.Exe == self: // a child of the test that has not become a program yet holds the sockets of the test
		case !strings.HasSuffix(row.Exe, "/stranger"):
			t.Errorf("a row that no rule allows: rule %s, action %s: %v", row.Rule, row.Action, &row)
		}
	}
	t.Logf("of %d first connections %d failed; %d rows are allowed", len(list), failed, granted)
	if granted < len(list) {
		t.Errorf("%d rows of %d programs", granted, len(list))
	}
}

// filesKept is how many files stay behind the last program: memory has no room
// for all, and a path whose file is gone is one that nobody can verify.
const filesKept = 64

// meetPeer runs one after the other, and at last one that no rule allows. It
// gives up when enough failed to see why.
func meetPeer(t *testing.T, l *lab, list []newcomer, images map[string][]byte) (failed int) {
	t.Helper()
	cg, err := l.cgroup.Child("fresh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(filepath.Join(l.dir, "reports"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	at := bpftest.Place{Net: l.pair.Client, Cgroup: cg}
	services := []string{"tcp " + tcp4, "tcp " + tcp6, "udp " + udp4}
	err = l.withPeer(services, bpftest.Place{Net: l.pair.Server}, out, func() error {
		for i := 0; i < len(list) && failed < 10; i++ {
			if err := list[i].run(l, images[list[i].image], at); err != nil {
				failed++
				t.Error(err)
			}
			if old := i - filesKept; old >= 0 {
				if err := os.Remove(list[old].path); err != nil {
					return err
				}
			}
		}
		stranger := newcomer{first: &firsts("")[0], path: filepath.Join(l.dir, "stranger"), mark: "stranger"}
		if err := stranger.run(l, images[""], at); err == nil || !refusal.MatchString(err.Error()) {
			t.Errorf("a program that no rule allows: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return failed
}

// newcomers are count programs of all kinds, half of them allowed by path, the
// others by hash; none is there yet.
func newcomers(t *testing.T, l *lab, kinds []first, count int) (list []newcomer, images map[string][]byte, rules string) {
	t.Helper()
	known := digests{}
	images = map[string][]byte{}
	var err error
	for i := range kinds {
		path := kinds[i].image
		if images[path] != nil {
			continue
		}
		file := path
		if file == "" {
			file = l.traffic
		}
		if images[path], err = known.read(file); err != nil {
			t.Fatal(err)
		}
		known[path] = known[file]
	}
	if err := os.Mkdir(filepath.Join(l.dir, "known"), 0o755); err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for i := range count {
		// Kinds change at every turn, the two grants at every round of them.
		n := newcomer{first: &kinds[i%len(kinds)], path: filepath.Join(l.dir, "known", fmt.Sprint("new-", i)), mark: fmt.Sprintf("%08d", i)}
		if i/len(kinds)%2 == 1 {
			n.path = filepath.Join(l.dir, fmt.Sprint("new-", i))
			sum, err := known.of(n.image, n.mark)
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, sum)
		}
		list = append(list, n)
	}
	if len(hashes) == 0 {
		hashes = append(hashes, fmt.Sprintf("%x", sha256.Sum256(nil)))
	}
	return list, images, fmt.Sprintf(`confine:
  - {id: nobody, process: any}
rules:
  - {id: by-path, action: allow, process: {exe: %s/known/*}}
  - {id: by-hash, action: allow, process: {sha256: [%s]}}
`, l.dir, strings.Join(hashes, ", "))
}
