package owner

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// merged are the directories that distributions turned into links, whose old
// paths live on in package databases.
var merged = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/sbin", "/usr/lib64", "/var/run", "/var/lock", "/usr/tmp"}

// aliases map a directory to the one that it is a link to.
type aliases map[string]string

func findAliases(root string) aliases {
	found := aliases{}
	for _, dir := range merged {
		target, err := os.Readlink(filepath.Join("/", root, dir))
		if err != nil {
			continue // no link, or not there
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(dir), target)
		}
		found[dir] = path.Clean(target)
	}
	return found
}

// canonical resolves them in a path. Links of links (/sbin is /usr/sbin is
// /usr/bin) end: no path is shorter than three turns.
func (a aliases) canonical(p string) string {
	for range 3 {
		next := a.step(p)
		if next == p {
			break
		}
		p = next
	}
	return p
}

func (a aliases) step(p string) string {
	for i := 1; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		if target, ok := a[p[:i]]; ok {
			return target + p[i:]
		}
		if strings.Count(p[:i], "/") == 2 {
			break // no merged directory is deeper
		}
	}
	return p
}
