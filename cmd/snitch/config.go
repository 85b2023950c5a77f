package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/config"
	"snitch/cmd/internal/text"
)

func newConfig(io stdio) *cobra.Command {
	return commandGroup(&cobra.Command{
		Use:   "config",
		Short: "Write, show, check and import the configuration",
		Long: `The configuration is /etc/snitch/config.yaml. Everything has a default: without
the file the daemon runs as well. SIGHUP makes a running daemon read it again.`,
		Example: `  sudo snitch config init /etc/snitch/config.yaml
  snitch config check
  snitch config show --changed
  snitch config import /etc/picosnitch/config.toml`,
	}, newConfigInit(io), newConfigShow(io), newConfigCheck(io), newConfigImport(io))
}

func newConfigInit(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write the configuration with every setting and its default",
		Long: `Write a configuration that says what every setting is and has its default: to FILE,
which must not be there yet, or to standard output.`,
		Example: `  sudo snitch config init /etc/snitch/config.yaml
  snitch config init | less`,
		Args:              atMostOneFile,
		ValidArgsFunction: completeConfig,
		RunE: func(_ *cobra.Command, args []string) error {
			c := config.Default()
			if len(args) == 0 || args[0] == "-" {
				return write(io.out, c.YAML())
			}
			return writeConfig(args[0], c.YAML(), 0o644)
		},
	}
}

// ConfigShowOptions are the flags of `snitch config show`.
type ConfigShowOptions struct {
	Changed bool
	JSON    bool
}

func newConfigShow(io stdio) *cobra.Command {
	var opts ConfigShowOptions
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the settings that hold",
		Long: `Show every setting as it holds with FILE (` + defaultConfig + `, if it is there): the
values of the file, and the defaults of what it does not say.`,
		Example: `  snitch config show
  snitch config show --changed
  snitch config show --json | jq -r '.[] | select(.changed) | .setting'`,
		Args:              atMostOneFile,
		ValidArgsFunction: completeConfig,
		RunE:              func(_ *cobra.Command, args []string) error { return runConfigShow(io, opts, args) },
	}
	cmd.Flags().BoolVar(&opts.Changed, "changed", false, "only what is not the default")
	jsonFlag(cmd, &opts.JSON, "print one JSON array")
	return cmd
}

func runConfigShow(io stdio, opts ConfigShowOptions, args []string) error {
	c, _, err := readConfig(io.in, args)
	if err != nil {
		return err
	}
	values := c.Values()
	if opts.Changed {
		kept := []config.Value{}
		for _, v := range values {
			if v.Changed {
				kept = append(kept, v)
			}
		}
		values = kept
	}
	switch {
	case opts.JSON:
		return printJSON(io.out, values)
	case !opts.Changed:
		return write(io.out, c.YAML())
	}
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%s: %s  (default %s)\n", v.Setting, text.Clean(v.Value), text.Clean(orNone(v.Default)))
	}
	return write(io.out, b.String())
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func newConfigCheck(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether the daemon would take a configuration",
		Long: `Read FILE (` + defaultConfig + `) as the daemon does, and say everything that is wrong with
it: content, owner and mode, and those of the files that it names (as root). With - it is standard input, of which only the content counts.`,
		Example: `  snitch config check
  snitch config check - < fleet/config.yaml`,
		Args:              atMostOneFile,
		ValidArgsFunction: completeConfig,
		RunE: func(_ *cobra.Command, args []string) error {
			c, name, err := readConfig(io.in, args)
			if err != nil {
				return err
			}
			if name != standardInput {
				if err := checkFiles(&c); err != nil {
					return usageError(err, "mend the configuration, or the file")
				}
			}
			changed := uint64(0)
			for _, v := range c.Values() {
				if v.Changed {
					changed++
				}
			}
			return write(io.out, fmt.Sprintf("ok: %s: %s not as by default\n", text.Clean(name), text.Plural(changed, "setting")))
		},
	}
}

// standardInput is how messages call it.
const standardInput = "standard input"

// checkFiles reads the files that settings name, as the daemon would; who is not
// root may not, and learns nothing about them.
func checkFiles(c *config.Config) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var errs []error
	if c.VirusTotal.Key != "" {
		if _, err := virusTotalServer(c.VirusTotal); err != nil {
			errs = append(errs, fmt.Errorf("virustotal: %w", err))
		}
	}
	if c.Records.Syslog.To != "" {
		if _, err := syslogSettings(c.Records.Syslog); err != nil {
			errs = append(errs, fmt.Errorf("records.syslog: %w", err))
		}
	}
	return errors.Join(errs...)
}

// maxConfig bounds what is read of standard input; one byte more is refused.
const maxConfig = 1<<20 + 1

// readConfig reads the named file, standard input for "-", or the system's, whose
// absence means the defaults.
func readConfig(in io.Reader, args []string) (config.Config, string, error) {
	name, named := defaultConfig, len(args) > 0
	if named {
		name = args[0]
	}
	var c config.Config
	var err error
	if name == "-" {
		name = standardInput
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(in, maxConfig)); err == nil {
			c, err = config.Parse(name, b)
		}
	} else {
		c, err = config.Load(name)
		if !named && errors.Is(err, os.ErrNotExist) {
			return config.Default(), "no file: the defaults", nil
		}
	}
	if err != nil {
		return c, name, usageError(err, "mend the configuration; 'snitch config init' shows one")
	}
	return c, name, nil
}

// writeConfig writes a file that is not there yet, whole or not at all.
func writeConfig(name, content string, mode os.FileMode) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, os.ErrExist):
		return usageError(fmt.Errorf("%s is there already", name), "name another file, or move it away first")
	case errors.Is(err, os.ErrNotExist):
		return usageError(fmt.Errorf("there is no directory %s", filepath.Dir(name)), "make it with 'sudo mkdir -p'")
	case err != nil:
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write configuration: %w", err), os.Remove(name))
	}
	return nil
}

func atMostOneFile(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return usageError(fmt.Errorf("%s takes one file, got %d", cmd.CommandPath(), len(args)), "name one file")
}

func completeConfig(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
