package commit

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"snitch/policy/bundle"
)

// ErrRewound says that a branch does not contain what was used before.
var ErrRewound = errors.New("the branch does not go on from the commit in use")

// replaces is the trailer that lets a commit replace one that it does not come
// from: a signed way back.
const replaces = "Snitch-Replaces: "

// releaseName is the file beside the rules that says which hosts use them.
const releaseName = ".release.json"

// Verifier verifies a signature as git has it in a commit, over payload.
type Verifier interface {
	Verify(payload, signature []byte) error
}

// Want says what Open accepts.
type Want struct {
	Source string
	Tip    string // commit that the branch is at
	Path   string // directory of rules in the repository; "." or "" is its root
	// Newest is the newest commit that was used: Tip comes from it, or says in its
	// message "Snitch-Replaces: " and its id. "" accepts any.
	Newest  string
	Signers Verifier
}

// Open returns the rules of a commit. It is signed, it goes on from the newest
// that was used, and every byte of the rules belongs to it.
func Open(o *Objects, want Want) (*bundle.Snapshot, bundle.Release, error) {
	tip, err := o.commit(want.Tip)
	if err != nil {
		return nil, bundle.Release{}, fmt.Errorf("read commit: %w", err)
	}
	if len(tip.signature) == 0 {
		return nil, bundle.Release{}, fmt.Errorf("verify commit %.12s: it is not signed: %w", want.Tip, bundle.ErrSignature)
	}
	if err := want.Signers.Verify(tip.payload, tip.signature); err != nil {
		return nil, bundle.Release{}, fmt.Errorf("verify commit %.12s: %w", want.Tip, err)
	}
	if err := o.follows(tip, want); err != nil {
		return nil, bundle.Release{}, fmt.Errorf("verify commit %.12s: %w", want.Tip, err)
	}
	root, err := o.descend(tip.tree, want.Path)
	if err != nil {
		return nil, bundle.Release{}, fmt.Errorf("read commit %.12s: %w", want.Tip, err)
	}
	s := &bundle.Snapshot{Source: want.Source, Revision: want.Tip}
	w := walk{objects: o, out: s}
	if err := w.tree(root, "", 0); err != nil {
		return nil, bundle.Release{}, fmt.Errorf("read commit %.12s: %w", want.Tip, err)
	}
	release := bundle.Release{Percent: 100}
	if w.release != nil {
		if release, err = bundle.ReadRelease(w.release); err != nil {
			return nil, release, fmt.Errorf("read commit %.12s: %s: %w", want.Tip, releaseName, err)
		}
		if release.Serial != 0 || release.Replaces != 0 {
			return nil, release, fmt.Errorf("read commit %.12s: %s: serial and replaces are for bundles: git has its history", want.Tip, releaseName)
		}
	}
	w.sort()
	release.Revision = want.Tip
	return s, release, nil
}

// parsed is a commit.
type parsed struct {
	tree      string
	parents   []string
	message   string
	payload   []byte // what was signed: the commit without the signature
	signature []byte // armored; empty when there is none
}

func (o *Objects) commit(id string) (*parsed, error) {
	data, err := o.get(id, kindCommit)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit %.12s: %w", id, err)
	}
	for _, ref := range append([]string{c.tree}, c.parents...) {
		if len(ref) != o.size || !ValidID(ref) {
			return nil, fmt.Errorf("commit %.12s: %.100q is no id", id, ref)
		}
	}
	return c, nil
}

// parseCommit takes the signature out and reads the rest: only what was signed
// counts.
func parseCommit(data []byte) (*parsed, error) {
	head, message, found := bytes.Cut(data, []byte("\n\n"))
	if !found {
		return nil, errors.New("it has no end of its header")
	}
	c := &parsed{message: string(message)}
	var payload bytes.Buffer
	within, signatures := false, 0 // a line of the signature goes on
	for _, line := range bytes.SplitAfter(append(bytes.Clone(head), '\n'), []byte("\n")) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		switch {
		case len(line) == 0:
		case within && line[0] == ' ':
			c.signature = append(c.signature, line[1:]...)
		case string(name) == "gpgsig" || string(name) == "gpgsig-sha256":
			within = true
			signatures++
			c.signature = append(append([]byte(nil), value...), '\n')
		default:
			within = false
			payload.Write(line)
		}
	}
	if signatures > 1 {
		return nil, errors.New("it is signed twice, which is not used")
	}
	if err := c.header(payload.String()); err != nil {
		return nil, err
	}
	payload.WriteByte('\n')
	payload.Write(message)
	c.payload = payload.Bytes()
	return c, nil
}

// header reads "tree", then any "parent"s: git writes them first, and in this
// order.
func (c *parsed) header(text string) error {
	lines := strings.Split(text, "\n")
	var ok bool
	if c.tree, ok = strings.CutPrefix(lines[0], "tree "); !ok {
		return errors.New("it does not begin with its tree")
	}
	for _, line := range lines[1:] {
		id, ok := strings.CutPrefix(line, "parent ")
		if !ok {
			return nil
		}
		c.parents = append(c.parents, id)
	}
	return nil
}

// follows holds tip against the newest commit that was used.
func (o *Objects) follows(tip *parsed, want Want) error {
	if want.Newest == "" || want.Newest == want.Tip {
		return nil
	}
	for _, line := range strings.Split(tip.message, "\n") {
		if id, ok := strings.CutPrefix(line, replaces); ok && strings.TrimSpace(id) == want.Newest {
			return nil
		}
	}
	seen := map[string]bool{want.Tip: true}
	for next := tip.parents; len(next) > 0; {
		var further []string
		for _, id := range next {
			if id == want.Newest {
				return nil
			}
			if _, there := o.objects[id]; !there || seen[id] {
				continue // its history was not needed to get here
			}
			if seen[id] = true; len(seen) > maxHistory {
				return fmt.Errorf("more than %d commits since the one in use", maxHistory)
			}
			c, err := o.commit(id)
			if err != nil {
				return err
			}
			further = append(further, c.parents...)
		}
		next = further
	}
	return fmt.Errorf("%w (%.12s): a signed commit with \"%s%s\" in its message could replace it", ErrRewound, want.Newest, replaces, want.Newest)
}
