package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"

	"snitch/cmd/internal/tui/browse"
	"snitch/cmd/internal/tui/top"
)

// ErrNoTerminal says that an interface was started without one.
var ErrNoTerminal = errors.New("this needs a terminal")

// Terminal is where an interface is shown.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	Env []string // as os.Environ
}

// Top shows the live table until the person quits or ctx ends.
func Top(ctx context.Context, term Terminal, src top.Source) error {
	ctx, cancel := context.WithCancel(ctx)
	c := top.NewCollector()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { top.Follow(ctx, src, c) })
	return show(ctx, term, top.NewApp(c))
}

// Browse shows the history until the person quits or ctx ends.
func Browse(ctx context.Context, term Terminal, deps browse.Deps) error {
	app := browse.New(ctx, deps)
	defer app.Close()
	return show(ctx, term, app)
}

// show runs a model on the terminal.
func show(ctx context.Context, term Terminal, model tea.Model) error {
	if !isTerminal(term.In) || !isTerminal(term.Out) {
		return ErrNoTerminal
	}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(term.In), tea.WithOutput(term.Out),
		tea.WithEnvironment(term.Env), tea.WithoutSignalHandler()}
	if plain(term.Env) {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	_, err := tea.NewProgram(model, options...).Run()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("run the interface: %w", err)
	}
	return nil
}

// plain reports whether the person wants no colours: NO_COLOR is set to
// anything but nothing (no-color.org).
func plain(env []string) bool {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "NO_COLOR="); ok && value != "" {
			return true
		}
	}
	return false
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
