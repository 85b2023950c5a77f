package process

import "strings"

// maxName bounds unit and container names: systemd's own bound on units.
const maxName = 255

// unitTypes are the suffixes of units that hold processes. Slices only group.
var unitTypes = [...]string{".service", ".scope", ".socket", ".mount", ".swap"}

// Unit is the systemd unit that owns a cgroup path: the first unit below the
// slices, as systemctl(1) says it. What lies deeper was made by the unit itself
// (a container's own systemd, a delegated tree) and may bear any name.
//
// A user's manager is a unit that delegates to its user: what that manager runs
// is named "user@1000.service/app.service", so that a user's unit never passes
// for one of the system. "" means none.
func Unit(path string) string {
	unit, rest := firstUnit(path)
	if !strings.HasPrefix(unit, "user@") {
		return unit
	}
	if inner, _ := firstUnit(rest); inner != "" {
		return unit + "/" + inner
	}
	return unit
}

// firstUnit skips slices and returns the unit that follows them and the path
// below it.
func firstUnit(path string) (unit, rest string) {
	path = strings.TrimPrefix(path, "/")
	for path != "" {
		var part string
		part, path, _ = strings.Cut(path, "/")
		// systemd puts "_" before a name that a control file could have.
		part = strings.TrimPrefix(part, "_")
		switch {
		case isUnit(part):
			return part, path
		case !strings.HasSuffix(part, ".slice") || !validName(part, unitSigns):
			return "", ""
		}
	}
	return "", ""
}

const (
	unitSigns      = `:_.\@-`
	containerSigns = "_.-"
)

func isUnit(s string) bool {
	for _, suffix := range unitTypes {
		if len(s) > len(suffix) && strings.HasSuffix(s, suffix) {
			return validName(s, unitSigns)
		}
	}
	return false
}

// validName reports whether s has only ASCII letters, digits and signs.
func validName(s, signs string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(signs, c) < 0 {
			return false
		}
	}
	return true
}
