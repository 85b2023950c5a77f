package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	reports "snitch/policy/report"
	"snitch/policy/rule"
)

// maxRuleFile bounds a file that is formatted.
const maxRuleFile = 4 << 20

// PolicyFmtOptions are the flags of `snitch policy fmt`.
type PolicyFmtOptions struct {
	Write bool
	Check bool
}

func newPolicyFmt(io stdio) *cobra.Command {
	var opts PolicyFmtOptions
	cmd := &cobra.Command{
		Use:   "fmt [DIR|FILE…]",
		Short: "Write rules and tests in their canonical form",
		Long: `Write rule and test files in the canonical form: keys in one order, one line where
it fits, quotes where they are needed. Comments stay, and so does the meaning. One
file is printed; with -w files are rewritten, with --check those that would be are
listed and the command fails. "-" reads rules from standard input.`,
		Example: `  snitch policy fmt rules/web.yaml
  snitch policy fmt -w rules/
  snitch policy fmt --check rules/       in CI`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeRules,
		RunE:              func(_ *cobra.Command, args []string) error { return runPolicyFmt(io, opts, args) },
	}
	cmd.Flags().BoolVarP(&opts.Write, "write", "w", false, "rewrite the files")
	cmd.Flags().BoolVar(&opts.Check, "check", false, "list the files that are not in this form, and fail if there are any")
	return cmd
}

func runPolicyFmt(io stdio, opts PolicyFmtOptions, args []string) error {
	if opts.Write && opts.Check {
		return usageError(errors.New("-w rewrites files, --check does not"), "leave one of them away")
	}
	if len(args) == 1 && args[0] == "-" {
		return formatStream(io, opts)
	}
	if len(args) == 0 {
		args = []string{defaultRules()}
	}
	files, err := formattable(args)
	if err != nil {
		return err
	}
	if len(files) != 1 && !opts.Write && !opts.Check {
		return usageError(fmt.Errorf("%d files: only one can be printed", len(files)), "rewrite them with -w, or list them with --check")
	}
	return formatFiles(io, opts, files)
}

// formatFiles goes on behind a file with faults, so that all of them are told.
func formatFiles(io stdio, opts PolicyFmtOptions, files []string) error {
	changed, faults := 0, &rule.Errors{}
	for _, name := range files {
		src, err := readRules(name)
		if err != nil {
			return err
		}
		out, err := rule.Format(filepath.ToSlash(name), src)
		var some *rule.Errors
		switch {
		case errors.As(err, &some):
			faults.List, faults.More = append(faults.List, some.List...), faults.More+some.More
			continue
		case err != nil:
			return fmt.Errorf("format %s: %w", name, err)
		case !opts.Write && !opts.Check:
			return write(io.out, string(out))
		case bytes.Equal(src, out):
			continue
		}
		changed++
		if err := write(io.out, reports.Printable(name)+"\n"); err != nil {
			return err
		}
		if opts.Write {
			if err := replaceFile(name, out); err != nil {
				return err
			}
		}
	}
	switch {
	case len(faults.List) > 0:
		return loadFailure(io, "pretty", nil, faults)
	case changed > 0 && opts.Check:
		show(io.err, fmt.Sprintf("%d of %d files are not in canonical form", changed, len(files)), "run 'snitch policy fmt -w'")
		return errAnswerNo
	}
	return nil
}

func formatStream(io stdio, opts PolicyFmtOptions) error {
	if opts.Write {
		return usageError(errors.New("standard input cannot be rewritten"), "leave -w away")
	}
	src, err := bounded(io.in, "standard input")
	if err != nil {
		return err
	}
	name := "stdin.yaml"
	if bytes.Contains(src, []byte("\ncases:")) {
		name = "stdin_test.yaml"
	}
	out, err := rule.Format(name, src)
	if err != nil {
		return loadFailure(io, "pretty", nil, err)
	}
	if opts.Check {
		if !bytes.Equal(src, out) {
			return errAnswerNo
		}
		return nil
	}
	return write(io.out, string(out))
}

// formattable are the files of rules and tests that arguments name.
func formattable(args []string) ([]string, error) {
	var out []string
	for _, a := range args {
		err := filepath.WalkDir(a, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case path != a && strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case path == a && !d.IsDir(), d.Type().IsRegular() && (filepath.Ext(path) == ".yaml" || filepath.Ext(path) == ".yml"):
				out = append(out, path)
			}
			return nil
		})
		if err != nil {
			return nil, usageError(fmt.Errorf("read rules: %w", err), "name a directory of rules, or files of one")
		}
	}
	return out, nil
}

func readRules(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usageError(fmt.Errorf("read rules: %w", err), "name a file of rules")
	}
	defer f.Close()
	return bounded(f, name)
}

func bounded(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRuleFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > maxRuleFile {
		return nil, usageError(fmt.Errorf("%s is larger than %d bytes", name, maxRuleFile), "part it into several files")
	}
	return b, nil
}

// replaceFile writes beside a file and renames, so that whoever reads it meets
// the old or the new one.
func replaceFile(name string, content []byte) (err error) {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".snitch-fmt-*")
	if err != nil {
		return fmt.Errorf("rewrite %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("rewrite %s: %w", name, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
