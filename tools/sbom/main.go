// Command sbom writes what a built snitch is made of: a CycloneDX bill of
// materials, and the licences that must go with it. Both tell what is in the
// binary, by its own build information, and not what might be; the same binary
// gives the same bytes.
//
//	go run ./tools/sbom -binary build/snitch -o build/snitch.cdx.json -licences build/licences
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "the built `file`")
	flag.StringVar(&o.version, "version", "unknown", "what it calls itself")
	flag.StringVar(&o.time, "time", "", "of the sources, RFC 3339")
	flag.StringVar(&o.bundled, "bundled", "cmd/internal/web/ui/dist/licences.txt", "`file` with the licences of what the web interface bundles")
	flag.StringVar(&o.out, "o", "", "`file` for the bill of materials")
	flag.StringVar(&o.licences, "licences", "", "`file` for the licences")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

type options struct {
	binary, version, time, bundled, out, licences string
}

// component is a part of the binary. Its text are its licences.
type component struct {
	name, version, purl string
	text                string
}

func (o *options) run() error {
	parts, err := modules(o.binary)
	if err != nil {
		return err
	}
	bundled, err := os.ReadFile(o.bundled)
	if err != nil {
		return fmt.Errorf("read the licences of the web interface: %w", err)
	}
	parts = append(parts, npm(string(bundled))...)
	for _, p := range parts {
		if licence(p.text) == "" {
			err = errors.Join(err, fmt.Errorf("%s: its licence is not known to this tool", p.name))
		}
	}
	if err != nil {
		return err
	}
	bill, err := json.MarshalIndent(o.bill(parts), "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if err := os.WriteFile(o.out, append(bill, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(o.licences, []byte(texts(parts)), 0o644)
}

// modules are what the linker put into the binary, the Go runtime included.
func modules(binary string) ([]component, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", binary, err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	root, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("read Go's licence: %w", err)
	}
	release := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	out := []component{{name: "std", version: release, purl: "pkg:golang/std@" + release, text: string(root)}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		text, err := moduleTexts(m.Path, m.Version)
		if err != nil {
			return nil, err
		}
		out = append(out, component{name: m.Path, version: m.Version, purl: "pkg:golang/" + m.Path + "@" + m.Version, text: text})
	}
	return out, nil
}

// legal are the files whose text goes with the program.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

func moduleTexts(path, version string) (string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		return "", fmt.Errorf("find module %s %s: %w", path, version, err)
	}
	at := strings.TrimSpace(string(dir))
	entries, err := os.ReadDir(at)
	if err != nil {
		return "", fmt.Errorf("read module %s: %w", path, err)
	}
	var texts []string
	for _, e := range entries {
		if e.IsDir() || !legal.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(at, e.Name()))
		if err != nil {
			return "", fmt.Errorf("read licence of %s: %w", path, err)
		}
		texts = append(texts, strings.TrimSpace(string(text)))
	}
	return strings.Join(texts, "\n\n"), nil
}

// heading begins the licence of a library in the web interface's own list.
var heading = regexp.MustCompile(`(?m)^(\S+) (\d+\.\d+\.\d+) \(.*\)$`)

func npm(list string) (out []component) {
	at := heading.FindAllStringSubmatchIndex(list, -1)
	for i, m := range at {
		end := len(list)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		name, version := list[m[2]:m[3]], list[m[4]:m[5]]
		out = append(out, component{name: name, version: version, purl: "pkg:npm/" + name + "@" + version, text: strings.TrimSpace(list[m[1]:end])})
	}
	return out
}

// licence is the SPDX identifier of a licence text, by sentences that only it
// has; "" is none that is known, which a person has to look at.
func licence(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	for _, l := range []struct{ id, has string }{
		{"Apache-2.0", "Apache License Version 2.0"},
		{"MPL-2.0", "Mozilla Public License Version 2.0"},
		{"MPL-2.0", "Mozilla Public License, version 2.0"},
		{"BSD-3-Clause", "Neither the name of"},
		{"BSD-3-Clause", "may not be used to endorse or promote products"},
		{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
		{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
		{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
		{"MIT", "Permission is hereby granted, free of charge"},
		{"Unlicense", "This is free and unencumbered software"},
	} {
		if strings.Contains(words, l.has) {
			return l.id
		}
	}
	return ""
}

func texts(parts []component) string {
	var b strings.Builder
	b.WriteString("What the binary of snitch is linked with, and the terms of each part.\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "\n%s\n%s %s (%s)\n\n%s\n", strings.Repeat("=", 78), p.name, p.version, licence(p.text), p.text)
	}
	return b.String()
}

// bill is CycloneDX 1.5. It has no serial number, which would differ each time.
func (o *options) bill(parts []component) map[string]any {
	list := make([]map[string]any, 0, len(parts))
	refs := make([]string, 0, len(parts))
	for _, p := range parts {
		list = append(list, map[string]any{"type": "library", "bom-ref": p.purl, "name": p.name, "version": p.version, "purl": p.purl,
			"licenses": []any{map[string]any{"license": map[string]any{"id": licence(p.text)}}}})
		refs = append(refs, p.purl)
	}
	slices.Sort(refs)
	self := "snitch@" + o.version
	return map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata": map[string]any{"timestamp": o.time, "component": map[string]any{"type": "application", "bom-ref": self, "name": "snitch", "version": o.version,
			"licenses": []any{map[string]any{"license": map[string]any{"id": "Apache-2.0"}}}}},
		"components":   list,
		"dependencies": []any{map[string]any{"ref": self, "dependsOn": refs}},
	}
}
