package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
	"snitch/policy/bundle"
)

// BundleOptions are the flags of `snitch bundle` and its commands.
type BundleOptions struct {
	Key      string // file of the private key
	Keys     string // file of public keys
	Out      string
	Serial   uint64
	Replaces uint64
	Revision string
	Percent  int
	Seed     string
	Expires  string
	JSON     bool
}

func newBundle(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "bundle",
		Short: "Sign rules for many hosts, and look into what was signed",
		Long: `A bundle is a directory of rules in one signed file, which hosts fetch over HTTPS or
find on disk (fleet.source: bundle). It is an OPA bundle; keys are made with
'openssl genpkey -algorithm ed25519'. Neither root nor a daemon is needed.`,
		Example: `  openssl genpkey -algorithm ed25519 -out release.pem
  openssl pkey -in release.pem -pubout -out release.pub
  snitch bundle build rules --key release.pem --serial 42 --out rules.tar.gz
  snitch bundle verify rules.tar.gz --keys release.pub`,
	}, newBundleBuild(io), newBundleVerify(io))
}

func newBundleBuild(io stdio) *cobra.Command {
	var opts BundleOptions
	cmd := &cobra.Command{
		Use:   "build DIR",
		Short: "Make a signed bundle of a directory of rules",
		Long: `Check the rules, pack them and sign the archive. The serial has to grow from one
bundle to the next: hosts refuse what is not newer than what they have used. To go
back, sign the old rules with --replaces and the serial that they shall replace, or
with a new serial.`,
		Example: `  snitch bundle build rules --key release.pem --serial 42 --revision "$(git rev-parse --short HEAD)" --out rules.tar.gz
  snitch bundle build rules --key release.pem --serial 43 --percent 10 --out rules.tar.gz
  snitch bundle build old --key release.pem --serial 41 --replaces 43 --out rules.tar.gz`,
		Args: exactly(1, "one directory of rules"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runBundleBuild(cmd.Context(), io, opts, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&opts.Key, "key", "", "private key (PEM): Ed25519, or ECDSA on P-256")
	f.StringVarP(&opts.Out, "out", "o", "", "file to write; - is standard output")
	f.Uint64Var(&opts.Serial, "serial", 0, "number of this release, larger than of the one before")
	f.Uint64Var(&opts.Replaces, "replaces", 0, "make it follow every release up to this serial, although its own is smaller")
	f.StringVar(&opts.Revision, "revision", "", "your name for it, shown by hosts (the serial)")
	f.IntVar(&opts.Percent, "percent", 100, "share of the hosts that shall use it now; the others keep what they have")
	f.StringVar(&opts.Seed, "seed", "", "choose other hosts for the same share")
	f.StringVar(&opts.Expires, "expires", "", "when hosts no longer take it: RFC 3339, or a duration from now (never)")
	for _, flag := range []string{"serial", "replaces", "revision", "percent", "seed", "expires"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

func newBundleVerify(io stdio) *cobra.Command {
	var opts BundleOptions
	cmd := &cobra.Command{
		Use:     "verify FILE",
		Short:   "Say who signed a bundle as what, and what is in it",
		Example: "  snitch bundle verify rules.tar.gz --keys release.pub\n  snitch bundle verify rules.tar.gz --keys release.pub --json | jq .serial",
		Args:    exactly(1, "one bundle"),
		RunE:    func(_ *cobra.Command, args []string) error { return runBundleVerify(io, opts, args[0]) },
	}
	cmd.Flags().StringVar(&opts.Keys, "keys", "", "public keys (PEM), of which one has to have signed it")
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

// exactly wants that many arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError(fmt.Errorf("%s wants %s, got %d arguments", cmd.CommandPath(), what, len(args)), fmt.Sprintf("run '%s --help'", cmd.CommandPath()))
	}
}

func runBundleBuild(ctx context.Context, io stdio, opts BundleOptions, dir string) error {
	switch {
	case opts.Key == "" || opts.Out == "":
		return usageError(errors.New("--key and --out are needed"), "run 'snitch bundle build --help'")
	case opts.Serial == 0:
		return usageError(errors.New("--serial is needed: hosts refuse what is not newer than what they have used"), "count up from the last release: 'snitch bundle verify' shows its serial")
	}
	release := bundle.Release{Revision: opts.Revision, Serial: opts.Serial, Replaces: opts.Replaces, Percent: opts.Percent, Seed: opts.Seed}
	var err error
	if release.Expires, err = expiry(opts.Expires, time.Now()); err != nil {
		return err
	}
	snapshot, err := bundle.Directory{Path: dir}.Read()
	if err != nil {
		return rulesError(err)
	}
	if _, err := tryRules(ctx, snapshot, config.Rules{Test: true}); err != nil {
		return rulesError(err)
	}
	private, err := readBounded(opts.Key, maxKeyFile)
	if err != nil {
		return usageError(err, "")
	}
	packed, err := bundle.Seal(snapshot, release, private)
	if err != nil {
		return usageError(err, "")
	}
	if opts.Out == "-" {
		return write(io.out, string(packed))
	}
	if err := putFile(opts.Out, packed); err != nil {
		return err
	}
	return write(io.err, fmt.Sprintf("%s: serial %d, %s, signed\n", opts.Out, opts.Serial, text.Plural(uint64(len(snapshot.Files)), "file")))
}

// expiry reads a moment, or a duration from now.
func expiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := text.ParseDuration(s); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, usageError(fmt.Errorf("--expires: %q is neither a duration nor a moment", s), "say --expires 30d or --expires 2027-01-01T00:00:00Z")
	}
	return at.UTC(), nil
}

// Opened is what `snitch bundle verify --json` prints.
type Opened struct {
	Revision string         `json:"revision"`
	Release  bundle.Release `json:"release"`
	Digest   string         `json:"digest"`
	Files    []OpenedFile   `json:"files"`
}

// OpenedFile is a file of a bundle.
type OpenedFile struct {
	Path  string `json:"path"`
	Bytes int    `json:"bytes"`
}

func runBundleVerify(io stdio, opts BundleOptions, file string) error {
	if opts.Keys == "" {
		return usageError(errors.New("--keys is needed: who may have signed it?"), "name a file of public keys")
	}
	public, err := readBounded(opts.Keys, maxKeyFile)
	if err != nil {
		return usageError(err, "")
	}
	keys, err := bundle.ReadKeys(public)
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", opts.Keys, err), "")
	}
	packed, err := readBounded(file, bundle.MaxPacked)
	if err != nil {
		return usageError(err, "")
	}
	s, release, err := bundle.Open(file, packed, keys)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	out := Opened{Revision: release.Revision, Release: release, Digest: s.Digest(), Files: []OpenedFile{}}
	for _, f := range s.Files {
		out.Files = append(out.Files, OpenedFile{f.Path, len(f.Data)})
	}
	if opts.JSON {
		return printJSON(io.out, out)
	}
	return write(io.out, out.String())
}

// String is the answer for people.
func (o Opened) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	r := o.Release
	fmt.Fprintf(w, "revision\t%s\nserial\t%d\n", text.Clean(o.Revision), r.Serial)
	if r.Replaces > 0 {
		fmt.Fprintf(w, "replaces\tevery release up to %d\n", r.Replaces)
	}
	fmt.Fprintf(w, "hosts\t%d %%\n", r.Percent)
	if !r.Expires.IsZero() {
		fmt.Fprintf(w, "expires\t%s\n", clock(r.Expires))
	}
	fmt.Fprintf(w, "digest\t%s\n", o.Digest)
	for _, f := range o.Files {
		fmt.Fprintf(w, "file\t%s (%s)\n", text.Clean(f.Path), text.Bytes(uint64(f.Bytes)))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// maxKeyFile bounds a file of keys.
const maxKeyFile = 1 << 20

// readBounded reads a regular file of at most so many bytes; a pipe would make
// it wait for ever.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: no regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("read %s: larger than %s", name, text.Bytes(uint64(most)))
	}
	return data, nil
}

// putFile puts a whole file in place.
func putFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".snitch-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		if rm := os.Remove(f.Name()); !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
