package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// uiDir holds sources (src), libraries (npm) and what is made of them (dist).
const uiDir = "cmd/internal/web/ui"

func main() {
	fetch := flag.Bool("fetch", false, "take the libraries from npm anew")
	dir := flag.String("C", ".", "root of the module")
	flag.Parse()
	if err := run(filepath.Join(*dir, uiDir), *fetch); err != nil {
		fmt.Fprintln(os.Stderr, "webbuild:", err)
		os.Exit(1)
	}
}

func run(dir string, fetch bool) error {
	if fetch {
		if err := fetchAll(filepath.Join(dir, "npm")); err != nil {
			return err
		}
	}
	files, err := Build(dir)
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, "dist"), files)
}

// replace makes dir hold exactly files.
func replace(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make output: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list output: %w", err)
	}
	for _, f := range there {
		if _, ok := files[f.Name()]; !ok {
			if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("remove old output: %w", err)
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}
