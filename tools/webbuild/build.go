package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/evanw/esbuild/pkg/api"
)

// Build makes the files of dist, by name, from the sources and libraries in
// dir. The same sources make the same bytes.
func Build(dir string) (map[string][]byte, error) {
	files, err := bundle(dir)
	if err != nil {
		return nil, err
	}
	for name, make := range map[string]func(npm string) ([]byte, error){
		"world.json": world, "flags.json": flags, "licences.txt": licences,
	} {
		if files[name], err = make(filepath.Join(dir, "npm")); err != nil {
			return nil, fmt.Errorf("make %s: %w", name, err)
		}
	}
	if files["icon.svg"], err = os.ReadFile(filepath.Join(dir, "src", "icon.svg")); err != nil {
		return nil, fmt.Errorf("read icon: %w", err)
	}
	return files, nil
}

// bundle makes app.js and app.css.
func bundle(dir string) (map[string][]byte, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find sources: %w", err)
	}
	npm := filepath.Join(abs, "npm")
	made := api.Build(api.BuildOptions{
		EntryPoints:   []string{filepath.Join(abs, "src", "app.tsx"), filepath.Join(abs, "src", "app.css")},
		AbsWorkingDir: abs,
		Outdir:        filepath.Join(abs, "dist"),
		Bundle:        true,
		Format:        api.FormatESModule,
		Target:        api.ES2022,
		JSX:           api.JSXAutomatic,
		// The names that sources import.
		JSXImportSource: "preact",
		Alias: map[string]string{
			"preact":             filepath.Join(npm, "preact/dist/preact.mjs"),
			"preact/hooks":       filepath.Join(npm, "preact/hooks/dist/hooks.mjs"),
			"preact/jsx-runtime": filepath.Join(npm, "preact/jsx-runtime/dist/jsxRuntime.mjs"),
			"uplot":              filepath.Join(npm, "uplot/dist/uPlot.esm.js"),
			"uplot.css":          filepath.Join(npm, "uplot/dist/uPlot.min.css"),
		},
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone, // licences.txt has them
		Charset:           api.CharsetUTF8,
		TsconfigRaw:       `{}`,
		Write:             false,
		LogLevel:          api.LogLevelSilent,
	})
	if err := messages(made.Errors, made.Warnings); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range made.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	return files, nil
}

// messages makes one error of what esbuild says; a warning is one too.
func messages(lists ...[]api.Message) error {
	var errs []error
	for _, m := range slices.Concat(lists...) {
		at := ""
		if m.Location != nil {
			at = fmt.Sprintf("%s:%d:%d: ", m.Location.File, m.Location.Line, m.Location.Column+1)
		}
		errs = append(errs, errors.New(at+m.Text))
	}
	return errors.Join(errs...)
}

// flags is the file of flags as it is.
func flags(npm string) ([]byte, error) { return os.ReadFile(filepath.Join(npm, "flags", "flags.json")) }

// licences are those of everything that is bundled.
func licences(npm string) ([]byte, error) {
	var b bytes.Buffer
	for _, p := range packages {
		text, err := os.ReadFile(filepath.Join(npm, p.dir, "LICENSE"))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s %s (%s)\n\n%s\n\n", p.name, p.version, p.what, bytes.TrimSpace(text))
	}
	return b.Bytes(), nil
}
