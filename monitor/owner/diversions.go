package owner

import (
	"fmt"
)

// diversion is an order of dpkg-divert(8): every package but by that lists
// from has its file at to.
type diversion struct {
	from, to string
	by       string // ":" is the administrator: no package keeps from
}

const maxDiversions = 1 << 16

// diversions by either path, canonical.
type diversions struct {
	from, to map[string]diversion
}

// readDiversions reads dpkg's file: three lines for each.
func readDiversions(file string, alias aliases) (diversions, error) {
	d := diversions{from: map[string]diversion{}, to: map[string]diversion{}}
	var three []string
	err := eachLineOf(file, func(line []byte) (bool, error) {
		if three = append(three, string(line)); len(three) < 3 {
			return true, nil
		}
		if len(d.from) == maxDiversions {
			return false, fmt.Errorf("more than %d diversions", maxDiversions)
		}
		one := diversion{from: alias.canonical(three[0]), to: alias.canonical(three[1]), by: three[2]}
		d.from[one.from], d.to[one.to] = one, one
		three = three[:0]
		return true, nil
	})
	if err == nil && len(three) != 0 {
		err = fmt.Errorf("%s ends within a diversion", file)
	}
	return d, err
}

// listed returns the paths under which packages may list the file at path.
func (d diversions) listed(path string) []string {
	if one, ok := d.to[path]; ok {
		return []string{path, one.from}
	}
	return []string{path}
}

// places reports whether a package that lists a path has its file at path.
func (d diversions) places(listed, path, name string) bool {
	one, diverted := d.from[listed]
	if !diverted || one.by == name {
		return listed == path
	}
	return one.to == path
}
