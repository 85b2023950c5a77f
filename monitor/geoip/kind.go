package geoip

import (
	"fmt"
	"strings"
)

// Kind is what a table tells.
type Kind uint8

// Kinds of table.
const (
	KindInvalid Kind = 0
	KindCountry Kind = 1
	KindCity    Kind = 2
	KindASN     Kind = 3
)

var kindNames = [...]string{"invalid", "country", "city", "asn"}

// Kinds lists the names of all kinds.
func Kinds() []string { return kindNames[1:] }

// String is the name that commands take.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("unknown-%d", k)
	}
	return kindNames[k]
}

// ParseKind reads what String writes.
func ParseKind(s string) (Kind, bool) {
	for i := 1; i < len(kindNames); i++ {
		if kindNames[i] == s {
			return Kind(i), true
		}
	}
	return KindInvalid, false
}

// MarshalText makes Kind a JSON string.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// FileName is the name of an installed file of this kind.
func (k Kind) FileName() string { return k.String() + ".mmdb" }

// credit is what the licence of a table wants to be shown, by how the table
// names itself.
func credit(databaseType string) (text, url string) {
	name := strings.ToLower(databaseType)
	switch {
	case strings.HasPrefix(name, "dbip"):
		return "IP Geolocation by DB-IP", "https://db-ip.com"
	case strings.HasPrefix(name, "geolite2"):
		return "This product includes GeoLite Data created by MaxMind, available from https://www.maxmind.com", "https://www.maxmind.com"
	}
	return "", ""
}
