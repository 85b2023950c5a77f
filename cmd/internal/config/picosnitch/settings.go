package picosnitch

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
)

// setting is one setting of picosnitch. Either name may be missing.
type setting struct {
	json  []string // its names in the older versions, the last one first
	toml  string   // section.key
	here  string   // what it is here: a setting, or why there is none
	apply func(c *converter, v any) error
}

// settings are all settings that picosnitch ever documented.
var settings = []setting{
	{[]string{"DB retention (days)", "Keep logs (days)"}, "database.retention_days", "`retention.age`", days("retention.age")},
	{[]string{"DB sql log"}, "database.enabled", "the database is always written, it is what rules about novelty rest on; off becomes the shortest `retention.age`", (*converter).database},
	{[]string{"DB sql server"}, "database.remote", "`remote.url` and the files beside it ([remote-sql.md](remote-sql.md)); tables are made anew", (*converter).remote},
	{[]string{"DB text log"}, "database.text_log", "`records.connections: csv`", (*converter).textLog},
	{[]string{"DB write limit (seconds)", "DB write (sec)", "DB write min (sec)"}, "database.write_limit_seconds", "`interval`", seconds("interval")},
	{nil, "data.owner", "files belong to root", gone("root")},
	{nil, "data.group", "group snitch may read; people join it", gone("root", "snitch")},
	{nil, "data.mode", "files are 0640", gone("0640")},
	{[]string{"Log addresses", "Log remote address"}, "log.addresses", "`log.addresses`", boolean("log.addresses")},
	{[]string{"Log commands", "Log command lines"}, "log.commands", "`log.commands`", boolean("log.commands")},
	{nil, "log.ports", "`log.ports`", boolean("log.ports")},
	{[]string{"Log ignore", "Remote address unlog"}, "", "`log.ignore`: ports, networks and digests as they are, domains the right way round; names of processes are not ignored by name, which anybody can take", (*converter).ignoreMixed},
	{nil, "log.ignore_ports", "`log.ignore.ports`", list("log.ignore.ports", asIs)},
	{nil, "log.ignore_domains", "`log.ignore.domains`, the right way round", list("log.ignore.domains", reversed)},
	{nil, "log.ignore_ips", "`log.ignore.networks`", list("log.ignore.networks", asIs)},
	{nil, "log.ignore_sha256", "`log.ignore.sha256`", list("log.ignore.sha256", asIs)},
	{nil, "desktop.user", "everybody who is logged in is told, as that user", gone("")},
	{[]string{"Desktop notifications"}, "desktop.notifications", "`notify.desktop`", boolean("notify.desktop")},
	{[]string{"GeoIP lookup"}, "desktop.geoip_lookup", "countries are always looked up, in a table on this host", always},
	{[]string{"Every exe (not just conns)"}, "monitoring.every_exe", "`every_exec`", boolean("every_exec")},
	{[]string{"Only log connections"}, "", "`every_exec`, the other way round", (*converter).onlyConnections},
	{[]string{"Perf ring buffer (pages)"}, "monitoring.perf_ring_buffer_pages", "not needed: what is lost for want of room is counted; `flow_entries` is the room for connections", gone("256", "64")},
	{[]string{"Set RLIMIT_NOFILE", "NOFILE"}, "monitoring.rlimit_nofile", "not needed: no descriptor is kept for a digest; `hash.entries` is how many are remembered", gone("<nil>")},
	{nil, "monitoring.st_dev_mask", "not needed: files are told apart without their device number", gone("0")},
	{[]string{"Bandwidth monitor"}, "", "bytes are always counted", always},
	{[]string{"Dash scroll zoom"}, "", "not needed in `snitch web`", gone("true")},
	{[]string{"Dash theme"}, "", "`snitch web` is dark or light as the browser wants", gone("")},
	{[]string{"VT API key"}, "virustotal.api_key", "`virustotal.key`, in a file that only root may read", (*converter).key},
	{[]string{"VT file upload"}, "virustotal.file_upload", "`virustotal.upload`", boolean("virustotal.upload")},
	{[]string{"VT request limit (seconds)", "VT limit request"}, "virustotal.request_limit_seconds", "`virustotal.interval`", seconds("virustotal.interval")},
}

func boolean(to string) func(*converter, any) error {
	return func(c *converter, v any) error {
		b, err := asBool(v)
		if err != nil {
			return err
		}
		return c.config.Set(to, strconv.FormatBool(b))
	}
}

func seconds(to string) func(*converter, any) error { return amount(to, "s") }

func days(to string) func(*converter, any) error { return amount(to, "d") }

func amount(to, unit string) func(*converter, any) error {
	return func(c *converter, v any) error {
		n, err := asNumber(v)
		if err != nil {
			return err
		}
		return c.config.Set(to, strconv.FormatFloat(n, 'f', -1, 64)+unit)
	}
}

// gone is a setting without a counterpart; a value that is not the default is
// said.
func gone(defaults ...string) func(*converter, any) error {
	return func(c *converter, v any) error {
		if !slices.Contains(defaults, fmt.Sprint(v)) {
			return errDiffers
		}
		return nil
	}
}

// always is a setting that is on here.
func always(_ *converter, v any) error {
	b, err := asBool(v)
	if err == nil && !b {
		err = errDiffers
	}
	return err
}

// errDiffers says that what the setting wanted is not what happens here: what
// does stands in here.
var errDiffers = errors.New("differs")

func asIs(s string) string { return s }

// reversed turns org.example into example.org.
func reversed(s string) string {
	labels := strings.Split(strings.Trim(s, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

func list(to string, turn func(string) string) func(*converter, any) error {
	return func(c *converter, v any) error {
		l, err := asList(v)
		if err != nil {
			return err
		}
		for _, v := range l {
			s, err := asText(v)
			if err == nil {
				err = c.add(to, turn(s))
			}
			if err != nil {
				c.note("%v: not imported", err)
			}
		}
		return nil
	}
}

func (c *converter) database(v any) error {
	b, err := asBool(v)
	if err != nil || b {
		return err
	}
	c.after = append(c.after, func() error { return c.config.Set("retention.age", "1h") })
	return errDiffers
}

func (c *converter) textLog(v any) error {
	b, err := asBool(v)
	if err != nil || !b {
		return err
	}
	return c.config.Set("records.connections", "csv")
}

func (c *converter) onlyConnections(v any) error {
	b, err := asBool(v)
	if err != nil {
		return err
	}
	return c.config.Set("every_exec", strconv.FormatBool(!b))
}

func (c *converter) key(v any) error {
	s, err := asString(v)
	if err != nil || s == "" {
		return err
	}
	if len(s) > 256 || strings.ContainsAny(s, " \t\r\n\x00") {
		return errors.New("it is no key, which is one word")
	}
	c.result.Secrets = append(c.result.Secrets, Secret{"the key of VirusTotal", c.keyFile, s})
	return c.config.Set("virustotal.key", c.keyFile)
}

// ignoreMixed sorts a list of ports, digests, networks and domains.
func (c *converter) ignoreMixed(v any) error {
	l, err := asList(v)
	if err != nil {
		return err
	}
	for _, v := range l {
		s, err := asText(v)
		if err != nil {
			c.note("%v: not imported", err)
			continue
		}
		_, isText := v.(string)
		if _, digestErr := event.ParseDigest(s); digestErr == nil && s != "" {
			err = c.add("log.ignore.sha256", s)
		} else if !isText {
			err = c.add("log.ignore.ports", s)
		} else if c.add("log.ignore.networks", s) != nil {
			if !strings.Contains(s, ".") {
				err = fmt.Errorf("%s is neither a network nor a domain", shown(s))
			} else {
				err = c.add("log.ignore.domains", reversed(s))
			}
		}
		if err != nil {
			c.note("%v: not imported", err)
		}
	}
	return nil
}
