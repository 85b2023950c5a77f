package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/config/picosnitch"
	"snitch/cmd/internal/text"
)

// ConfigImportOptions are the flags of `snitch config import`.
type ConfigImportOptions struct {
	Output string
}

func newConfigImport(io stdio) *cobra.Command {
	var opts ConfigImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a configuration of that of picosnitch",
		Long: `Make a configuration of that of picosnitch, the JSON of its older versions or the
TOML of its newer ones, and say on standard error what is not as it was. A key of
VirusTotal and the password of an SQL server are written beside the new file, for
root only, and shown nowhere.`,
		Example: `  sudo snitch config import /etc/picosnitch/config.toml -o /etc/snitch/config.yaml
  snitch config import ~/.config/picosnitch/config.json | less`,
		Args:              oneFile,
		ValidArgsFunction: completeForeign,
		RunE:              func(_ *cobra.Command, args []string) error { return runConfigImport(io, opts, args[0]) },
	}
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "", "write to this new `FILE` instead of standard output")
	return cmd
}

func completeForeign(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"json", "toml"}, cobra.ShellCompDirectiveFilterFileExt
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return usageError(fmt.Errorf("%s wants one file, got %d", cmd.CommandPath(), len(args)), fmt.Sprintf("say '%s FILE'", cmd.CommandPath()))
}

func runConfigImport(io stdio, opts ConfigImportOptions, name string) error {
	data, err := readForeign(name, picosnitch.MaxConfig)
	if err != nil {
		return usageError(err, "name a config.json or config.toml of picosnitch")
	}
	keyFile := picosnitch.DefaultKeyFile
	if opts.Output != "" {
		dir, err := filepath.Abs(filepath.Dir(opts.Output))
		if err != nil {
			return fmt.Errorf("find directory: %w", err)
		}
		keyFile = filepath.Join(dir, filepath.Base(keyFile))
	}
	res, err := picosnitch.Convert(data, keyFile)
	if err != nil {
		return usageError(fmt.Errorf("%s: %w", name, err), "nothing was imported")
	}
	if err := writeImported(io, opts.Output, res); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s imported, %d notes\n", text.Plural(uint64(res.Imported), "setting"), len(res.Notes))
	for _, n := range res.Notes {
		fmt.Fprintf(&b, "  %s: %s\n", text.Clean(n.Setting), text.Clean(n.Text))
	}
	if opts.Output == "" {
		for _, s := range res.Secrets {
			fmt.Fprintf(&b, "put %s into %s, mode 0600: it is not shown here\n", s.What, s.File)
		}
	}
	return write(io.err, b.String())
}

// writeImported writes the configuration, and before it the secrets that it names.
func writeImported(io stdio, output string, res *picosnitch.Result) error {
	yaml := res.Config.YAML()
	if output == "" {
		return write(io.out, yaml)
	}
	if _, err := os.Lstat(output); err == nil {
		return usageError(fmt.Errorf("%s is there already", output), "name another file, or move it away first")
	}
	for _, s := range res.Secrets {
		if err := writeConfig(s.File, s.Text+"\n", 0o600); err != nil {
			return err
		}
	}
	return writeConfig(output, yaml, 0o644)
}

// readForeign reads a file of another product: a regular one, without waiting.
func readForeign(name string, most int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("read import: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("read import: %s is no regular file", name), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read import: %w", err)
	}
	return b, nil
}
