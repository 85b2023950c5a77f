package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=…); without it the build
// information of Go is asked.
var version string

// VersionOptions are the flags of `snitch version`.
type VersionOptions struct {
	JSON bool
}

// Build is what `snitch version --json` prints.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // "" when the build did not know it
	Modified bool   `json:"modified"` // built from a tree with changes that were not committed
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func newVersion(io stdio) *cobra.Command {
	var opts VersionOptions
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Print the version",
		Long:              "Print the version of snitch, the commit and the Go release that it was built from.",
		Example:           "  snitch version\n  snitch version --json",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return runVersion(io, opts) },
	}
	jsonFlag(cmd, &opts.JSON, "print one JSON object")
	return cmd
}

func runVersion(io stdio, opts VersionOptions) error {
	b := build()
	if opts.JSON {
		return printJSON(io.out, b)
	}
	commit := ""
	if b.Commit != "" {
		commit = " (" + b.Commit[:min(12, len(b.Commit))] + ")"
	}
	return write(io.out, fmt.Sprintf("snitch %s%s %s %s/%s\n", b.Version, commit, b.Go, b.OS, b.Arch))
}

// build reads what the linker and the Go tool left in the binary.
func build() Build {
	b := Build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	return b
}
