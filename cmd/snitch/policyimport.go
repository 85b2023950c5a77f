package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"snitch/policy/importer"
	reports "snitch/policy/report"
)

// foreign are the products whose rules are read.
var foreign = []struct {
	name, what, ext string
	read            func([]importer.Source) (*importer.Result, error)
}{
	{"opensnitch", "OpenSnitch (JSON files, as in /etc/opensnitchd/rules)", ".json", importer.OpenSnitch},
	{"lsrules", "Little Snitch (.lsrules rule groups)", ".lsrules", importer.LittleSnitch},
}

// PolicyImportOptions are the flags of `snitch policy import`.
type PolicyImportOptions struct {
	Output string
}

func newPolicyImport(io stdio) *cobra.Command {
	var opts PolicyImportOptions
	cmd := &cobra.Command{
		Use:   "import opensnitch|lsrules FILE|DIR…",
		Short: "Make rules of those of OpenSnitch or Little Snitch",
		Long: `Make rules of those of another product, and say what is not as it was: in comments
above each rule, and on standard error. A rule with a condition that cannot be said
here is not imported, because without it the rule would mean more.`,
		Example: `  snitch policy import opensnitch /etc/opensnitchd/rules > rules/opensnitch.yaml
  snitch policy import lsrules -o rules/group.yaml group.lsrules`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeImport,
		RunE:              func(_ *cobra.Command, args []string) error { return runPolicyImport(io, opts, args) },
	}
	cmd.Flags().StringVarP(&opts.Output, "output", "o", "", "write to this new file instead of standard output")
	return cmd
}

func completeImport(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var out []string
	for _, f := range foreign {
		out = append(out, cobra.CompletionWithDesc(f.name, f.what))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func runPolicyImport(io stdio, opts PolicyImportOptions, args []string) error {
	if len(args) < 2 {
		return usageError(errors.New("import wants a product and its files"), "say 'snitch policy import opensnitch DIR' or 'snitch policy import lsrules FILE'")
	}
	for _, f := range foreign {
		if f.name != args[0] {
			continue
		}
		sources, err := importSources(args[1:], f.ext)
		if err != nil {
			return err
		}
		res, err := f.read(sources)
		if err != nil {
			return usageError(fmt.Errorf("import rules: %w", err), "nothing was imported: mend the file or leave it away")
		}
		return writeImport(io, opts, res)
	}
	return usageError(fmt.Errorf("no importer for %q", args[0]), "say opensnitch or lsrules")
}

// importSources reads files, and of directories those with the extension.
func importSources(args []string, ext string) ([]importer.Source, error) {
	var out []importer.Source
	for _, a := range args {
		names := []string{a}
		if info, err := os.Stat(a); err == nil && info.IsDir() {
			entries, err := os.ReadDir(a)
			if err != nil {
				return nil, usageError(fmt.Errorf("read rules: %w", err), "")
			}
			names = nil
			for _, e := range entries {
				if e.Type().IsRegular() && filepath.Ext(e.Name()) == ext {
					names = append(names, filepath.Join(a, e.Name()))
				}
			}
			if len(names) == 0 {
				return nil, usageError(fmt.Errorf("%s has no files %s", a, ext), "name the files")
			}
		}
		for _, name := range names {
			src, err := importSource(name)
			if err != nil {
				return nil, err
			}
			out = append(out, src)
		}
	}
	return out, nil
}

func importSource(name string) (importer.Source, error) {
	f, err := os.Open(name)
	if err != nil {
		return importer.Source{}, usageError(fmt.Errorf("read rules: %w", err), "name a file of rules")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, importer.MaxFile+1))
	if err != nil {
		return importer.Source{}, usageError(fmt.Errorf("read rules: %w", err), "name a file of rules")
	}
	return importer.Source{Name: filepath.ToSlash(name), Data: b}, nil
}

func writeImport(io stdio, opts PolicyImportOptions, res *importer.Result) error {
	text, err := res.YAML()
	if err != nil {
		return err
	}
	if opts.Output == "" {
		err = write(io.out, string(text))
	} else {
		err = writeNew(opts.Output, text)
	}
	if err != nil {
		return err
	}
	whole, changed, left := res.Count()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d rules imported as they were, %d with a difference, %d not imported\n", res.Product, whole, changed, left)
	for i := range res.Items {
		item := &res.Items[i]
		word := "differs"
		if item.Rule == nil {
			word = "not imported"
		}
		for _, n := range item.Notes {
			fmt.Fprintf(&b, "  %s: %s: %s\n", word, reports.Printable(item.Name), reports.Printable(n))
		}
	}
	return write(io.err, b.String())
}

// writeNew writes a file that is not there yet.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return usageError(fmt.Errorf("write rules: %w", err), "name a file that is not there yet")
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}
