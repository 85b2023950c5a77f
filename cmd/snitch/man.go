package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"snitch/cmd/internal/text"
)

func newMan(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a directory",
		Long: `Write a manual page of every command into a directory. Packages bring them; from a
tarball, write them where man looks.`,
		Example: "  sudo snitch man /usr/local/share/man/man1",
		Hidden:  true, // done once, by who packs
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("man wants one directory, got %d", len(args)), "say where to write the pages")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runMan(io, cmd.Root(), args[0]) },
	}
}

func runMan(io stdio, root *cobra.Command, dir string) error {
	n := 0
	for cmd := range visible(root) {
		name := filepath.Join(dir, pageName(cmd)+".1")
		if err := os.WriteFile(name, []byte(manPage(cmd)), 0o644); err != nil {
			return errorWithHint(fmt.Errorf("write manual page: %w", err), "name a directory that is there and that you may write to")
		}
		n++
	}
	return write(io.out, fmt.Sprintf("%s in %s\n", text.Plural(uint64(n), "page"), text.Clean(dir)))
}

// visible yields cmd and all commands below it that help shows.
func visible(cmd *cobra.Command) func(func(*cobra.Command) bool) {
	return func(yield func(*cobra.Command) bool) { eachVisible(cmd, yield) }
}

func eachVisible(cmd *cobra.Command, yield func(*cobra.Command) bool) bool {
	if cmd.Hidden {
		return true
	}
	if !yield(cmd) {
		return false
	}
	for _, c := range cmd.Commands() {
		if !eachVisible(c, yield) {
			return false
		}
	}
	return true
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is the page of one command, in man(7)'s language. It holds no date:
// the same sources give the same page.
func manPage(cmd *cobra.Command) string {
	var r roff
	r.line(`.TH %s 1 "" %s "User Commands"`, quoteRoff(strings.ToUpper(pageName(cmd))), quoteRoff("snitch "+build().Version))
	r.section("NAME")
	r.line(`%s \- %s`, escapeRoff(pageName(cmd)), escapeRoff(cmd.Short)) // no paragraph before it: whatis(1) reads this
	r.section("SYNOPSIS")
	r.text(`\fB` + escapeRoff(cmd.CommandPath()) + `\fR` + escapeRoff(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	r.section("DESCRIPTION")
	if cmd.Long != "" {
		r.verbatim(cmd.Long)
	} else {
		r.text(escapeRoff(cmd.Short) + ".")
	}
	r.commands(cmd)
	r.options(cmd)
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.verbatim(cmd.Example)
	}
	r.section("EXIT STATUS")
	_, codes, _ := strings.Cut(exitCodesHelp, "\n")
	r.verbatim(codes)
	r.also(cmd)
	return r.String()
}

// roff writes man(7)'s language.
type roff struct{ strings.Builder }

func (r *roff) line(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }

func (r *roff) section(name string) { r.line(".SH %s", name) }

// text writes a paragraph that is escaped already.
func (r *roff) text(s string) {
	r.line(".PP")
	r.line("%s", s)
}

// verbatim keeps the lines as they are: texts of commands are laid out by hand,
// with lists and columns.
func (r *roff) verbatim(s string) {
	r.line(".PP")
	r.line(".nf")
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		r.line("%s", escapeRoff(strings.TrimRight(line, "\n")))
	}
	r.line(".fi")
}

// item is one of a list of things with an explanation.
func (r *roff) item(name, what string) {
	r.line(".TP")
	r.line("%s", name)
	r.line("%s", escapeRoff(what))
}

func (r *roff) commands(cmd *cobra.Command) {
	first := true
	for _, c := range cmd.Commands() {
		if c.Hidden {
			continue
		}
		if first {
			r.section("COMMANDS")
			first = false
		}
		r.item(`\fB`+escapeRoff(pageName(c))+`\fR(1)`, c.Short)
	}
}

func (r *roff) options(cmd *cobra.Command) {
	first := true
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			r.section("OPTIONS")
			first = false
		}
		value, usage := pflag.UnquoteUsage(f)
		name := `\fB\-\-` + escapeRoff(f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB\-` + f.Shorthand + `\fR, ` + name
		}
		if value != "" {
			name += ` \fI` + escapeRoff(value) + `\fR`
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		r.item(name, usage)
	})
}

func (r *roff) also(cmd *cobra.Command) {
	r.section("SEE ALSO")
	others := []string{`the documents in /usr/share/doc/snitch`}
	for parent := cmd.Parent(); parent != nil; parent = parent.Parent() {
		others = append([]string{`\fB` + escapeRoff(pageName(parent)) + `\fR(1)`}, others...)
	}
	r.text(strings.Join(others, ", "))
}

// escapeRoff makes plain text of s: no control line, no escape.
func escapeRoff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	var b strings.Builder
	for _, c := range s {
		if c < 0x80 {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, c)
		}
	}
	return b.String()
}

func quoteRoff(s string) string { return `"` + strings.ReplaceAll(escapeRoff(s), `"`, `\(dq`) + `"` }
