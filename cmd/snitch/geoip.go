package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
	"snitch/monitor/geoip"
)

// GeoIPOptions are the flags of `snitch geoip` and its commands.
type GeoIPOptions struct {
	State string
	From  string // address or file
	Force bool
	JSON  bool
}

func newGeoIP(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "geoip",
		Short: "Say where addresses are, and install better tables",
		Long: `snitch has a table of countries in its binary. 'update' fetches a newer and more
exact one, and, when asked, tables of cities and networks: DB-IP Lite, made each
month, free with a credit (CC BY 4.0), or one of MaxMind that you have. The
daemon takes it up within a minute. 'show' says which tables are used, and where
addresses are.`,
		Example: `  sudo snitch geoip update
  sudo snitch geoip update city asn
  sudo snitch geoip update city --from ./GeoLite2-City.mmdb
  snitch geoip show 8.8.8.8`,
	}, newGeoIPUpdate(io), newGeoIPShow(io))
}

func newGeoIPUpdate(io stdio) *cobra.Command {
	var opts GeoIPOptions
	cmd := &cobra.Command{
		Use:   "update [country] [city] [asn]",
		Short: "Fetch and install tables; country if none is named",
		Long: `Fetch tables and install them in the state directory, each whole or not at all. The
network is used by a process without privileges, which may do nothing else; what it
brings is checked. Nothing else in snitch ever fetches one.`,
		Example: `  sudo snitch geoip update
  sudo snitch geoip update country --from https://mirror.example.org/country.mmdb.gz`,
		ValidArgs: geoip.Kinds(),
		Args:      cobra.ArbitraryArgs,
		RunE:      func(cmd *cobra.Command, args []string) error { return runGeoIPUpdate(cmd.Context(), io, opts, args) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	cmd.Flags().StringVar(&opts.From, "from", "", "another address (https), or a file: MaxMind DB format, also compressed with gzip")
	cmd.Flags().BoolVar(&opts.Force, "force", false, "install it also if the installed one is newer")
	return cmd
}

func newGeoIPShow(io stdio) *cobra.Command {
	var opts GeoIPOptions
	cmd := &cobra.Command{
		Use:               "show [ADDRESS…]",
		Short:             "Say which tables are used, and where addresses are",
		Example:           "  snitch geoip show\n  snitch geoip show 8.8.8.8 2a01:4f8::1 --json",
		ValidArgsFunction: cobra.NoFileCompletions,
		Args:              cobra.ArbitraryArgs,
		RunE:              func(_ *cobra.Command, args []string) error { return runGeoIPShow(io, opts, args) },
	}
	dirFlag(cmd, &opts.State, "state", config.DefaultState, "state directory of the daemon")
	jsonFlag(cmd, &opts.JSON, "print one JSON object a line")
	return cmd
}

func runGeoIPUpdate(ctx context.Context, io stdio, opts GeoIPOptions, args []string) error {
	kinds, err := placeKinds(args)
	if err != nil {
		return err
	}
	if opts.From != "" && len(kinds) != 1 {
		return usageError(errors.New("--from is one table, and several kinds are named"), "run it once for each")
	}
	if info, err := os.Stat(opts.State); err != nil || !info.IsDir() {
		return usageError(fmt.Errorf("there is no state directory %s", opts.State), "start the daemon once, or name its directory with --state")
	}
	for _, kind := range kinds {
		src, err := installPlaces(ctx, opts, kind)
		if err != nil {
			return placesError(err)
		}
		line := fmt.Sprintf("%s: %s of %s installed\n", kind, text.Clean(src.Type), src.Built.Format(time.DateOnly))
		if src.Credit != "" {
			line += "  " + src.Credit + " (" + src.CreditURL + ")\n"
		}
		if err := write(io.out, line); err != nil {
			return err
		}
	}
	return nil
}

func placeKinds(args []string) ([]geoip.Kind, error) {
	if len(args) == 0 {
		return []geoip.Kind{geoip.KindCountry}, nil
	}
	var out []geoip.Kind
	for _, a := range args {
		kind, ok := geoip.ParseKind(a)
		if !ok {
			return nil, usageError(fmt.Errorf("%q is no kind of table", a), "the kinds are "+strings.Join(geoip.Kinds(), ", "))
		}
		out = append(out, kind)
	}
	return out, nil
}

// installPlaces installs one table: from a file, an address, or where it is
// published.
func installPlaces(ctx context.Context, opts GeoIPOptions, kind geoip.Kind) (geoip.Source, error) {
	dir := filepath.Join(opts.State, placesDir)
	if opts.From != "" && !strings.Contains(opts.From, "://") {
		f, err := os.Open(opts.From)
		if err != nil {
			return geoip.Source{}, fmt.Errorf("open table: %w", err)
		}
		defer f.Close()
		return geoip.Install(dir, kind, f, opts.Force)
	}
	addresses := geoip.Addresses(kind, time.Now())
	if opts.From != "" {
		addresses = []string{opts.From}
	}
	var src geoip.Source
	var err error
	for _, address := range addresses {
		src, err = fetchPlaces(ctx, dir, kind, address, opts.Force)
		if !errors.Is(err, geoip.ErrNotPublished) {
			break
		}
	}
	return src, err
}

// fetchPlaces installs what an unprivileged process fetches. That must have
// ended well before the table is put in place: half a table may look whole.
func fetchPlaces(ctx context.Context, dir string, kind geoip.Kind, address string, force bool) (geoip.Source, error) {
	child, err := startFetch(ctx, address)
	if err != nil {
		return geoip.Source{}, err
	}
	src, err := geoip.Install(dir, kind, child, force)
	if ended := child.wait(); err == nil {
		err = ended
	}
	return src, err
}

func placesError(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return errorWithHint(err, "run it with sudo")
	case errors.Is(err, geoip.ErrOlder):
		return errorWithHint(err, "say --force to install it all the same")
	case errors.Is(err, geoip.ErrNotPublished):
		return errorWithHint(err, "name another address or a file with --from")
	}
	return err
}

func runGeoIPShow(io stdio, opts GeoIPOptions, args []string) error {
	addrs := make([]netip.Addr, len(args))
	for i, a := range args {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return usageError(fmt.Errorf("%q is no address", a), "write it as 192.0.2.1 or 2001:db8::1")
		}
		addrs[i] = addr
	}
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	places, err := geoip.Open(filepath.Join(opts.State, placesDir), log)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return showSources(io.out, places.Sources(), opts.JSON)
	}
	return showPlaces(io.out, places, addrs, opts.JSON)
}

func showSources(out io.Writer, sources []geoip.Source, asJSON bool) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range sources {
		if asJSON {
			if err := printJSON(out, s); err != nil {
				return err
			}
			continue
		}
		path := s.Path
		if path == "" {
			path = "in the binary"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Kind, text.Clean(s.Type), s.Built.Format(time.DateOnly), text.Clean(path))
		if s.Credit != "" {
			fmt.Fprintf(w, "\t%s\t%s\t\n", s.Credit, s.CreditURL)
		}
	}
	_ = w.Flush() // a strings.Builder takes everything
	return write(out, b.String())
}

// located is one line of `snitch geoip show ADDRESS --json`.
type located struct {
	Address netip.Addr `json:"address"`
	geoip.Place
}

func showPlaces(out io.Writer, places *geoip.DB, addrs []netip.Addr, asJSON bool) error {
	for _, a := range addrs {
		p := places.Place(a)
		if asJSON {
			if err := printJSON(out, located{a, p}); err != nil {
				return err
			}
			continue
		}
		where := placeWords(p)
		if where == "" {
			where = "not known"
		}
		if err := write(out, fmt.Sprintf("%s  %s\n", a, text.Clean(where))); err != nil {
			return err
		}
	}
	return nil
}

// placeWords says where an address is, "" if nothing is known; hostile text.
func placeWords(p geoip.Place) string {
	var facts []string
	for _, fact := range []string{p.Scope, p.Country, p.City, p.Network} {
		if fact != "" {
			facts = append(facts, fact)
		}
	}
	if p.ASN != 0 {
		facts = append(facts, fmt.Sprintf("AS%d", p.ASN))
	}
	return strings.Join(facts, ", ")
}
