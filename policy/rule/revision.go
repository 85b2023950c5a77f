package rule

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// revision digests what a set says, not how it is written: comments, the order
// of files, rules and list items, and their positions do not change it.
func (s *Set) revision() string {
	h := sha256.New()
	g := language()
	for i := range s.Rules {
		hashNode(h, g.rule.write(&s.Rules[i]))
	}
	for i := range s.Confine {
		hashNode(h, g.confine.write(&s.Confine[i]))
	}
	names := make([]string, 0, len(s.Lists))
	for name := range s.Lists {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l := s.Lists[name]
		hashText(h, name)
		for _, n := range l.names.digest() {
			hashNumber(h, n)
		}
		for _, p := range l.nets {
			hashText(h, p.String())
		}
	}
	for _, m := range s.Modules {
		if !m.Test {
			hashText(h, m.File)
			hashText(h, string(m.Source))
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:8])
}

// hashNode hashes a node so that no two different ones read alike. Lists of
// values are alternatives: their order says nothing.
func hashNode(h hash.Hash, n *yaml.Node) {
	if n == nil {
		hashText(h, "")
		return
	}
	children := n.Content
	if n.Kind == yaml.SequenceNode && (len(children) == 0 || children[0] != nil && children[0].Kind == yaml.ScalarNode) {
		children = slices.Clone(children)
		slices.SortFunc(children, func(a, b *yaml.Node) int { return strings.Compare(a.Value, b.Value) })
	}
	hashText(h, string(rune('a'+n.Kind)))
	hashText(h, n.Value)
	hashNumber(h, uint64(len(children)))
	for _, c := range children {
		hashNode(h, c)
	}
}

func hashText(h hash.Hash, s string) {
	hashNumber(h, uint64(len(s)))
	h.Write([]byte(s))
}

func hashNumber(h hash.Hash, n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	h.Write(b[:])
}
