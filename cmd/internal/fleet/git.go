package fleet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snitch/policy/bundle/commit"
)

// Bounds of git.
const (
	gitWithin  = 5 * time.Minute
	maxListing = 32 << 20  // bytes of a listing of objects
	maxRepo    = 256 << 20 // bytes of the repository; a larger one is fetched anew
)

// tipRef is where the branch is kept.
const tipRef = "refs/snitch/tip"

// gitter runs git in a repository of its own, with nothing of the machine's or
// anybody's configuration.
type gitter struct {
	req  Request
	repo string
	env  []string
}

// gitConfig is all the configuration: no hooks, no helpers, no questions, no
// redirects, no submodules, and objects are checked as they arrive.
var gitConfig = []string{
	"core.hooksPath=/dev/null", "core.fsmonitor=false", "credential.helper=", "gc.auto=0", "maintenance.auto=false", "pack.threads=1",
	"fetch.fsckObjects=true", "fetch.recurseSubmodules=false", "transfer.bundleURI=false", "http.followRedirects=false",
	"http.lowSpeedLimit=1000", "http.lowSpeedTime=30", "protocol.version=2",
	"protocol.allow=never", "protocol.https.allow=always", "protocol.ssh.allow=always", "protocol.git.allow=always", "protocol.file.allow=always",
}

func newGitter(req Request) (*gitter, error) {
	g := &gitter{req: req, repo: filepath.Join(req.Dir, "repo.git")}
	g.env = []string{"PATH=/usr/bin:/usr/local/bin:/bin", "HOME=" + req.Dir, "LANG=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false", "SSH_ASKPASS=/bin/false", "GIT_DIR=" + g.repo}
	settings := gitConfig
	if req.Token != "" { // not an argument: everybody may read those
		header := authorization(req.Token)
		if !strings.Contains(req.Token, ":") { // what the large hosts of git take for a token
			header = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+req.Token))
		}
		settings = append(settings[:len(settings):len(settings)], "http.extraHeader=Authorization: "+header)
	}
	if req.CA != "" {
		file := filepath.Join(req.Dir, "ca.pem")
		if err := os.WriteFile(file, []byte(req.CA), 0o600); err != nil {
			return nil, err
		}
		settings = append(settings[:len(settings):len(settings)], "http.sslCAInfo="+file)
	}
	g.env = append(g.env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)))
	for i, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		g.env = append(g.env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	ssh := []string{"ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=30"}
	if req.SSHKey != "" {
		ssh = append(ssh, "-o", "IdentitiesOnly=yes", "-i", quote(req.SSHKey))
	}
	if req.KnownHosts != "" {
		ssh = append(ssh, "-o", quote("UserKnownHostsFile="+req.KnownHosts))
	}
	g.env = append(g.env, "GIT_SSH_COMMAND="+strings.Join(ssh, " "))
	return g, nil
}

// quote makes s one word of a shell: git gives the command for ssh to one.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (g *gitter) git(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	return command{name: "git", args: args, dir: g.req.Dir, env: g.env, in: in, out: out}.run(ctx)
}

func (g *gitter) text(ctx context.Context, args ...string) (string, error) {
	out := &capped{most: maxListing}
	err := g.git(ctx, nil, out, args...)
	return out.String(), err
}

// fetchGit brings the branch up to date and writes the objects that prove its
// rules: commits from the tip down to the one that is known, trees, files.
func fetchGit(ctx context.Context, req Request, out io.Writer) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, gitWithin)
	defer cancel()
	g, err := newGitter(req)
	if err != nil {
		return Reply{}, err
	}
	tip, err := g.remoteTip(ctx)
	if err != nil {
		return Reply{}, err
	}
	if tip == req.ETag {
		return Reply{Unchanged: true, Tip: tip}, nil
	}
	if err := g.fetch(ctx, len(tip)); err != nil {
		return Reply{}, err
	}
	// It may have moved since.
	if tip, err = g.text(ctx, "rev-parse", "--verify", "--quiet", tipRef); err != nil {
		return Reply{}, err
	}
	tip = strings.TrimSpace(tip)
	ids, err := g.needed(ctx, tip)
	if err != nil {
		return Reply{}, err
	}
	if err := g.git(ctx, strings.NewReader(strings.Join(ids, "\n")+"\n"), out, "cat-file", "--batch"); err != nil {
		return Reply{}, err
	}
	return Reply{Tip: tip}, nil
}

// remoteTip asks where the branch is.
func (g *gitter) remoteTip(ctx context.Context) (string, error) {
	ref := "refs/heads/" + g.req.Branch
	out, err := g.text(ctx, "ls-remote", "--quiet", "--", g.req.URL, ref)
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(out, "\n") {
		if id, name, _ := strings.Cut(line, "\t"); name == ref && commit.ValidID(id) {
			return id, nil
		}
	}
	return "", fmt.Errorf("it has no branch %s", g.req.Branch)
}

// fetch fetches into a repository for ids of that size, which it makes if there
// is none, or another, or one that has grown too large.
func (g *gitter) fetch(ctx context.Context, size int) error {
	format := "sha1"
	if size == 64 {
		format = "sha256"
	}
	now, err := g.text(ctx, "rev-parse", "--show-object-format")
	if err != nil || strings.TrimSpace(now) != format || diskUse(g.repo) > maxRepo {
		if err := os.RemoveAll(g.repo); err != nil {
			return err
		}
		if err := g.git(ctx, nil, nil, "init", "--quiet", "--bare", "--template=", "--object-format="+format, g.repo); err != nil {
			return err
		}
	}
	return g.git(ctx, nil, nil, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force", "--",
		g.req.URL, "+refs/heads/"+g.req.Branch+":"+tipRef)
}

func diskUse(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read is not counted
		}
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// needed lists the objects: the way from the known commit, the trees down to the
// directory, and everything in it.
func (g *gitter) needed(ctx context.Context, tip string) ([]string, error) {
	ids, err := g.way(ctx, tip)
	if err != nil {
		return nil, err
	}
	at := tip + "^{tree}"
	root, err := g.text(ctx, "rev-parse", "--verify", "--quiet", at)
	if err != nil {
		return nil, err
	}
	ids = append(ids, strings.TrimSpace(root))
	if g.req.Path != "" && g.req.Path != "." {
		dir := ""
		for _, part := range strings.Split(g.req.Path, "/") {
			dir = strings.TrimPrefix(dir+"/"+part, "/")
			id, err := g.text(ctx, "rev-parse", "--verify", "--quiet", tip+":"+dir)
			if err != nil {
				return nil, fmt.Errorf("it has no directory %s", dir)
			}
			ids, at = append(ids, strings.TrimSpace(id)), tip+":"+dir
		}
	}
	listing, err := g.text(ctx, "ls-tree", "-r", "-t", "-z", at)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(listing, "\x00") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] == "commit" || seen[fields[2]] {
			continue // submodules are not here, and are refused later
		}
		seen[fields[2]] = true
		ids = append(ids, fields[2])
	}
	return ids, nil
}

// way lists commits from the tip to the known one, without it; the tip alone
// when there is no way, which is judged elsewhere.
func (g *gitter) way(ctx context.Context, tip string) ([]string, error) {
	if g.req.Have == "" {
		return []string{tip}, nil
	}
	listing, err := g.text(ctx, "rev-list", "--parents", "--ancestry-path", g.req.Have+".."+tip)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if err != nil {
		return []string{tip}, nil // it is not known here
	}
	child := map[string]string{} // on the way from the tip
	parents := map[string][]string{}
	for _, line := range strings.Split(listing, "\n") {
		if f := strings.Fields(line); len(f) > 0 {
			parents[f[0]] = f[1:]
		}
	}
	for next := []string{tip}; len(next) > 0; next = next[1:] {
		for _, p := range parents[next[0]] {
			if _, seen := child[p]; seen || p == tip {
				continue
			}
			child[p] = next[0]
			if p != g.req.Have {
				next = append(next, p)
				continue
			}
			var ids []string
			for c := child[p]; c != tip; c = child[c] {
				ids = append(ids, c)
			}
			return append(ids, tip), nil
		}
	}
	return []string{tip}, nil
}
