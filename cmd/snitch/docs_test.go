package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"snitch/monitor/store/query"
)

// TestDocsCommands: every command of the documentation is one that there is,
// with the flags that it has and filters that are understood.
func TestDocsCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range append(files, "../../README.md", "../../docs/gitops/README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range commandsOf(string(text)) {
			seen++
			if fault := faultOf(words); fault != "" {
				t.Errorf("%s: snitch %s: %s", file, strings.Join(words, " "), fault)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d commands found", seen)
	}
}

var (
	codeSpan = regexp.MustCompile("`[^`]+`")
	// comment ends a line of shell.
	comment = regexp.MustCompile(`(^|\s)#.*`)
	// shellBreak stands between two commands, as far as the documentation goes.
	shellBreak = regexp.MustCompile(`&&|\|\||;|[\s)]\|\s|\$\(`)
	shellWord  = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)
)

// commandsOf are the words of each command of snitch in a page: in a fenced
// block that is not of another language, or in a span of code.
func commandsOf(page string) (commands [][]string) {
	fenced, shell := false, false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if language, ok := strings.CutPrefix(line, "```"); ok {
			fenced, shell = !fenced, slices.Contains([]string{"", "sh", "console"}, language)
			continue
		}
		var pieces []string
		switch {
		case !fenced:
			for _, span := range codeSpan.FindAllString(line, -1) {
				pieces = append(pieces, shellBreak.Split(strings.Trim(span, "`"), -1)...)
			}
		case shell:
			pieces = shellBreak.Split(comment.ReplaceAllString(line, ""), -1)
		}
		for _, piece := range pieces {
			if words := commandOf(piece); len(words) > 0 {
				commands = append(commands, words)
			}
		}
	}
	return commands
}

// commandOf are the words after "snitch", if the piece begins with that.
func commandOf(piece string) []string {
	var words []string
	for _, word := range shellWord.FindAllString(piece, -1) {
		word = strings.TrimRight(strings.NewReplacer(`'`, "", `"`, "", "[", "", "]", "").Replace(word), ",")
		if strings.HasPrefix(word, ">") {
			break
		}
		words = append(words, word)
	}
	for len(words) > 0 && slices.Contains([]string{"$", "#", "sudo", "if", "!"}, words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || words[0] != "snitch" && words[0] != "build/snitch" {
		return nil
	}
	return words[1:]
}

// standsFor says that a word is not to be typed as it is.
func standsFor(word string) bool {
	return word == "" || word == "…" || word == "..." || strings.ToUpper(word) == word
}

// faultOf says why a command would be wrong use, or "".
func faultOf(words []string) string {
	cmd := newRoot(stdio{})
	var flags, rest []string
	for _, word := range words {
		switch {
		case strings.HasPrefix(word, "-") && word != "-":
			flags = append(flags, word)
		case cmd.HasSubCommands() && !standsFor(word):
			next := childOf(cmd, word)
			if next == nil {
				return "no command " + word
			}
			cmd = next
		default:
			rest = append(rest, word)
		}
	}
	for _, flag := range flags {
		name, _, _ := strings.Cut(flag, "=")
		if !hasFlag(cmd, name) {
			return "no flag " + name
		}
	}
	if slices.Contains([]string{"log", "query", "export"}, cmd.Name()) {
		return faultOfFilters(rest)
	}
	return ""
}

func childOf(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func hasFlag(cmd *cobra.Command, name string) bool {
	if slices.Contains([]string{"--help", "-h", "--"}, name) {
		return true
	}
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return cmd.Flags().Lookup(long) != nil || cmd.InheritedFlags().Lookup(long) != nil
	}
	return cmd.Flags().ShorthandLookup(strings.TrimPrefix(name, "-")) != nil
}

// filterWord looks like a filter, right or wrong.
var filterWord = regexp.MustCompile(`^!?[a-z_.]+(!?[=~]|:)`)

func faultOfFilters(words []string) string {
	for _, word := range words {
		if !filterWord.MatchString(word) {
			continue
		}
		if _, err := query.Parse([]string{word}); err != nil {
			return err.Error()
		}
	}
	return ""
}
