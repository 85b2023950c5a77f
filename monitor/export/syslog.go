package export

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of syslog messages, bytes. RFC 5424 wants receivers to take 480 and
// advises 2048; over a stream they take more.
const (
	maxDatagram = 2048
	maxMessage  = 8192
	maxText     = 480 // of the part for people
	maxValue    = 1024
)

// sdID names our fields: 32473 is the number that RFC 5612 sets aside for those
// without one of their own.
const sdID = "snitch@32473"

// Origin is who a syslog message is from.
type Origin struct {
	Host     string
	App      string
	PID      int
	Facility int // 0 to 23
}

// Format writes an item as a message of RFC 5424 of at most limit bytes; nil when
// there is nothing to say. Fields that no longer fit are left away, the most
// telling come first, and truncated="1" says so.
func (o *Origin) Format(i *Item, limit int) []byte {
	m, ok := messageOf(i)
	if !ok {
		return nil
	}
	text := plainText(m.text, maxText)
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s %s %d %s [%s", o.Facility*8+int(m.severity), timeOf(i.Time), headerName(o.Host, 255), headerName(o.App, 48), o.PID, m.id, sdID)
	const truncated, closing = ` truncated="1"`, "] \xef\xbb\xbf"
	room := limit - len(text) - len(truncated) - len(closing)
	cut := false
	for _, f := range m.fields {
		if f.value == "" {
			continue
		}
		value := plainText(f.value, maxValue)
		cut = cut || len(value) >= maxValue-8
		param := " " + f.name + `="` + sdEscaper.Replace(value) + `"`
		if b.Len()+len(param) > room {
			cut = true
			continue
		}
		b.WriteString(param)
	}
	if cut {
		b.WriteString(truncated)
	}
	return []byte(b.String() + closing + text)
}

// sdEscaper writes the value of a parameter as RFC 5424 §6.3.3 wants.
var sdEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

func timeOf(t time.Time) string { return t.UTC().Format(timeForm) }

// headerName is a field of the header: printable ASCII without spaces, or "-".
func headerName(s string, most int) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < most; i++ {
		if s[i] > ' ' && s[i] < 0x7f {
			b.WriteByte(s[i])
		}
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

// Frame puts a message into a stream by octet counting (RFC 6587 §3.4.1, RFC
// 5425 §4.3).
func Frame(message []byte) []byte {
	return append([]byte(strconv.Itoa(len(message))+" "), message...)
}

// Facilities are the names of facilities, in the order of their numbers.
func Facilities() []string {
	return []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}
