package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/policy/bundle"
	"snitch/policy/bundle/commit"
)

// openFlags: a pipe does not make the opener wait, a terminal does not become
// its own.
const openFlags = unix.O_NONBLOCK | unix.O_NOCTTY

// askWithin bounds a helper that does not keep its own times.
const askWithin = gitWithin + time.Minute

// found is a set that was verified.
type found struct {
	set     *bundle.Snapshot
	release bundle.Release
	commit  string // "" for bundles
}

// fetch brings what is published, and a tag for it; nil when that was judged
// already.
func (s *Source) fetch(ctx context.Context) (*found, string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	keys, err := s.file(s.cfg.Keys)
	if err != nil {
		return nil, "", fmt.Errorf("read keys: %w", err)
	}
	if s.cfg.Kind == KindGit {
		return s.fetchGit(ctx, keys)
	}
	return s.fetchBundle(ctx, keys)
}

func (s *Source) fetchBundle(ctx context.Context, text []byte) (*found, string, error) {
	keys, err := bundle.ReadKeys(text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", s.cfg.Keys, err)
	}
	packed, tag, err := s.packed(ctx)
	if err != nil || packed == nil {
		return nil, "", err
	}
	set, release, err := bundle.Open(displayURL(s.cfg), packed, keys)
	if err != nil {
		return nil, "", &refusal{err} // no tag: a bad answer does not stay
	}
	return &found{set: set, release: release}, tag, nil
}

// packed is the bundle as it is published, nil when it is that of the last time.
func (s *Source) packed(ctx context.Context) (data []byte, tag string, err error) {
	s.mu.Lock()
	known := s.etag
	s.mu.Unlock()
	if filepath.IsAbs(s.cfg.URL) {
		return readLocal(s.cfg.URL, known)
	}
	req := Request{Ask: askBundle, URL: s.cfg.URL, ETag: known}
	if err := s.secrets(&req); err != nil {
		return nil, "", err
	}
	reply, err := s.ask(ctx, HelperBundle, req)
	if err != nil || reply.Unchanged {
		return nil, "", err
	}
	return append([]byte{}, reply.Data...), reply.ETag, nil
}

// secrets adds what the files of the configuration hold.
func (s *Source) secrets(req *Request) error {
	token, err := s.file(s.cfg.Token)
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	ca, err := s.file(s.cfg.CA)
	if err != nil {
		return fmt.Errorf("read CA: %w", err)
	}
	req.Token, req.CA = strings.TrimSpace(string(token)), string(ca)
	if strings.ContainsAny(req.Token, "\r\n\x00") {
		return errors.New("read token: it has more than one line")
	}
	return nil
}

// readLocal reads a bundle from disk. Its tag is of the file.
func readLocal(path, known string) (data []byte, tag string, err error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, "", fmt.Errorf("read bundle: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("read bundle: %w", err)
	}
	tag = fmt.Sprintf("%d %d %s", info.Size(), info.ModTime().UnixNano(), inode(info))
	if tag == known {
		return nil, "", nil
	}
	data, err = io.ReadAll(io.LimitReader(f, bundle.MaxPacked+1))
	if err != nil {
		return nil, "", fmt.Errorf("read bundle: %w", err)
	}
	return data, tag, nil // a longer one is refused by who opens it
}

func inode(info os.FileInfo) string {
	if st, ok := info.Sys().(*unixStat); ok {
		return fmt.Sprint(st.Ino, st.Ctim)
	}
	return ""
}

func (s *Source) fetchGit(ctx context.Context, text []byte) (*found, string, error) {
	verifier, err := s.verifier(ctx, text)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", s.cfg.Keys, err)
	}
	s.mu.Lock()
	newest, known := s.kept.Commit, s.etag
	s.mu.Unlock()
	req := Request{Ask: askGit, URL: s.cfg.URL, Branch: s.cfg.Branch, Path: s.cfg.Path, Have: newest, ETag: known, Dir: s.cfg.HelperDir, SSHKey: s.cfg.SSHKey, KnownHosts: s.cfg.KnownHosts}
	if err := s.secrets(&req); err != nil {
		return nil, "", err
	}
	reply, err := s.ask(ctx, HelperGit, req)
	if err != nil || reply.Unchanged {
		return nil, "", err
	}
	objects, err := commit.ReadObjects(bytes.NewReader(reply.Data), reply.Tip)
	if err != nil {
		return nil, "", err
	}
	set, release, err := commit.Open(objects, commit.Want{Source: displayURL(s.cfg), Tip: reply.Tip, Path: s.cfg.Path, Newest: newest, Signers: verifier})
	if err != nil {
		return nil, "", &refusal{err}
	}
	return &found{set: set, release: release, commit: reply.Tip}, reply.Tip, nil
}

// verifier is for keys of either kind.
func (s *Source) verifier(ctx context.Context, text []byte) (commit.Verifier, error) {
	if !isPGP(text) {
		return commit.ReadSigners(text, s.deps.Now)
	}
	keyring, err := readKeyring(text)
	if err != nil {
		return nil, err
	}
	return pgpVerifier{keyring: keyring, ask: func(req Request) (Reply, error) { return s.ask(ctx, HelperPGP, req) }}, nil
}

// ask has one helper for one request.
func (s *Source) ask(ctx context.Context, kind string, req Request) (Reply, error) {
	conn, err := s.deps.Start(ctx, kind)
	if err != nil {
		return Reply{}, err
	}
	reply, err := Ask(ctx, conn, req)
	return reply, errors.Join(err, ignoreClosed(conn.Close()))
}

// displayURL is where rules come from, without secrets, for people.
func displayURL(cfg Config) string {
	shown := cfg.URL
	if u, err := url.Parse(cfg.URL); err == nil && u.Scheme != "" {
		shown = u.Redacted()
	}
	if cfg.Kind != KindGit {
		return shown
	}
	shown += "#" + cfg.Branch
	if cfg.Path != "" && cfg.Path != "." {
		shown += ":" + cfg.Path
	}
	return shown
}
