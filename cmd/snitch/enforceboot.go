package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/enforce"
	"snitch/enforce/nft"
	"snitch/monitor/event"
)

// shutName is a file of the state directory: what denied last failed closed, so
// that a host which boots is shut until it is denied again. Its owner is the
// daemon.
const shutName = "enforce.closed"

func newEnforceBoot(io stdio) *cobra.Command {
	var opts EnforceOptions
	cmd := &cobra.Command{
		Use:   "boot",
		Short: "Shut the network until the daemon denies",
		Long: `Shut the network, but for the loopback, until the daemon denies: what the service does
at boot, before there is a network, where denying failed closed when the machine
went down. A daemon that does not come leaves it shut; 'snitch enforce panic' opens
it.`,
		Example: "  sudo snitch enforce boot",
		Hidden:  true, // for the service
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error { return runEnforceBoot(io, opts) },
	}
	opts.flags(cmd)
	return cmd
}

func runEnforceBoot(io stdio, opts EnforceOptions) error {
	if err := needRoot("the network is root's to shut"); err != nil {
		return err
	}
	_, err := os.Lstat(filepath.Join(opts.State, shutName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return write(io.out, "open: denying did not fail closed\n")
	case err != nil:
		return fmt.Errorf("look at mark: %w", err)
	case enforce.Panicked(opts.State):
		return write(io.out, "open: there was a panic\n")
	}
	if pid, err := holderOf(opts.State); err != nil || pid != 0 {
		return errors.Join(err, write(io.out, "open: a daemon runs\n"))
	}
	if err := nft.Shut(nft.Config{Table: nft.Name(opts.State)}); err != nil {
		return lacksError(err, "without nftables the network is open until snitch is ready")
	}
	return write(io.out, "shut until snitch denies\n")
}

// opened ends what `enforce boot` began: the backend holds what it is to hold.
func opened(state string) error { return absentIsFine(nft.Open(nft.Config{Table: nft.Name(state)})) }

// remember marks whether the next boot is to begin shut.
func remember(state string, want enforce.Desired) error {
	name := filepath.Join(state, shutName)
	if want.Mode != event.ModeEnforce || !want.FailClosed || want.Scope != "" {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take mark for the next boot away: %w", err)
		}
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("leave mark for the next boot: %w", err)
	}
	return f.Close()
}

// removeShut is for who ends all denying, with or without a daemon.
func removeShut(_ context.Context, state string) error { return opened(state) }
