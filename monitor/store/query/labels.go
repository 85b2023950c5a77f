package query

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"

	"snitch/monitor/store/schema"
)

// labeller says what values mean, and what to show beside them. It is called
// with the tables that the values are of.
type labeller interface {
	labels(ctx context.Context, r *reader, t *interned, values []int64) (keys, details []string, err error)
}

// wordLabels are for values that are words.
type wordLabels struct{}

func (wordLabels) labels(_ context.Context, _ *reader, t *interned, values []int64) (keys, details []string, err error) {
	keys = make([]string, len(values))
	for i, v := range values {
		if v >= 0 && v < int64(len(t.words)) {
			keys[i] = t.words[v]
		}
	}
	return keys, make([]string, len(values)), nil
}

// digestLabels are words whose detail is a file that has the digest.
type digestLabels struct{}

func (digestLabels) labels(ctx context.Context, r *reader, t *interned, values []int64) (keys, details []string, err error) {
	keys, details, err = wordLabels{}.labels(ctx, r, t, values)
	newest := map[int64]int64{} // word of a digest → executable
	for id, x := range t.executables {
		newest[x.sha] = max(newest[x.sha], id)
	}
	for i, v := range values {
		if v != 0 {
			details[i] = t.words[t.executables[newest[v]].path]
		}
	}
	return keys, details, err
}

// codeLabels are for values that say all.
type codeLabels func(int64) string

func (f codeLabels) labels(_ context.Context, _ *reader, _ *interned, values []int64) (keys, details []string, err error) {
	keys = make([]string, len(values))
	for i, v := range values {
		keys[i] = f(v)
	}
	return keys, make([]string, len(values)), nil
}

// userLabels are for user ids; the account is the detail.
type userLabels struct{}

func (userLabels) labels(_ context.Context, r *reader, t *interned, values []int64) (keys, details []string, err error) {
	keys, details = make([]string, len(values)), make([]string, len(values))
	for i, v := range values {
		keys[i] = decimal(v)
		if details[i] = t.words[t.accounts[uint32(v)]]; details[i] == "" {
			details[i] = r.users(uint32(v))
		}
	}
	return keys, details, nil
}

// serviceLabels are for values of serviceOfKey.
type serviceLabels struct{}

func (serviceLabels) labels(_ context.Context, _ *reader, _ *interned, values []int64) (keys, details []string, err error) {
	keys, details = make([]string, len(values)), make([]string, len(values))
	for i, v := range values {
		keys[i] = showService(protoName(v>>16), uint16(v))
		details[i] = serviceName(keys[i])
	}
	return keys, details, nil
}

// serviceName is what people call the service of a port.
func serviceName(service string) string {
	switch proto, port, _ := strings.Cut(service, "/"); port {
	case "22":
		return "ssh"
	case "25", "465", "587":
		return "mail"
	case "53":
		return "dns"
	case "67", "68":
		return "dhcp"
	case "80":
		return "http"
	case "123":
		return "ntp"
	case "143", "993":
		return "imap"
	case "443":
		if proto == "udp" {
			return "quic"
		}
		return "https"
	case "445":
		return "smb"
	case "853":
		return "dns over tls"
	case "631":
		return "ipp"
	case "1900":
		return "ssdp"
	case "2049":
		return "nfs"
	case "3306":
		return "mysql"
	case "5353":
		return "mdns"
	case "5432":
		return "postgresql"
	case "6379":
		return "redis"
	}
	return ""
}

// tableLabels are for values that are numbers of an interned table which is
// not in memory.
type tableLabels struct {
	table, column string
	show          func(driver.Value) string
}

func asText(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func asAddress(v driver.Value) string {
	b, _ := v.([]byte)
	a, err := schema.ToAddr(b)
	if err != nil {
		return ""
	}
	return a.String()
}

var (
	textLabels    = tableLabels{"text", "value", asText}
	domainLabels  = tableLabels{"domain", "name", asText}
	addressLabels = tableLabels{"address", "bytes", asAddress}
)

// labelsAtOnce is how many values one statement asks for.
const labelsAtOnce = 500

func (l tableLabels) labels(ctx context.Context, r *reader, _ *interned, values []int64) (keys, details []string, err error) {
	keys = make([]string, len(values))
	at := make(map[int64][]int, len(values))
	for i, v := range values {
		if v != 0 {
			at[v] = append(at[v], i)
		}
	}
	ids := make([]int64, 0, len(at))
	for id := range at {
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		n := min(len(ids), labelsAtOnce)
		var b builder
		parts := make([]string, n)
		for i, id := range ids[:n] {
			parts[i] = b.arg(id)
		}
		ids = ids[n:]
		text := "SELECT id, " + l.column + " FROM " + l.table + " WHERE id IN (" + strings.Join(parts, ",") + ")"
		err := r.raw(ctx, text, b.args, func(v []driver.Value) {
			for _, i := range at[integer(v[0])] {
				keys[i] = l.show(v[1])
			}
		})
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", l.table, err)
		}
	}
	return keys, make([]string, len(values)), nil
}

// FilterFor is the text of a filter that selects the connections of a group:
// those whose field has the key. For an address with a zone (raddr, laddr) it
// selects the address in any zone.
func FilterFor(field, key string) string {
	if field == "raddr" || field == "laddr" {
		key, _, _ = strings.Cut(key, "%")
	}
	var b strings.Builder
	b.WriteString(field)
	b.WriteByte('=')
	for i := range len(key) {
		if key[i] == '*' || key[i] == ',' || key[i] == '\\' || (key[i] == '.' && i == 0 && isDomainField(field)) {
			b.WriteByte('\\')
		}
		b.WriteByte(key[i])
	}
	return b.String()
}

func isDomainField(field string) bool { return field == "domain" || field == "sni" }

// showService is how field service shows a protocol and the port of a service.
func showService(proto string, port uint16) string { return proto + "/" + strconv.Itoa(int(port)) }
