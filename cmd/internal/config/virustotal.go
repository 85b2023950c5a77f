package config

import (
	"time"

	"snitch/policy/reputation"
)

// VirusTotal is how programs are asked about.
type VirusTotal struct {
	Key       string // file of the key, see ReadSecret; "": nothing is asked
	Upload    bool
	MaxUpload int64 // bytes
	Interval  time.Duration
	URL       string
	CA        string // file; "" is the system's
}

var virusTotalSettings = []setting{
	secret("virustotal.key", "/etc/snitch/virustotal.key", "of its interface; without the line nothing is asked", func(c *Config) *string { return &c.VirusTotal.Key }),
	boolean("virustotal.upload", "give away programs that it does not know: it and its customers have them then", func(c *Config) *bool { return &c.VirusTotal.Upload }),
	size("virustotal.max_upload", 1_000_000, 650_000_000, "larger programs are not given away", func(c *Config) *int64 { return &c.VirusTotal.MaxUpload }),
	duration("virustotal.interval", time.Second, 24*time.Hour, "between two questions; 15s is the quota of a free key", func(c *Config) *time.Duration { return &c.VirusTotal.Interval }),
	{path: "virustotal.url", want: "`https://HOST[:PORT]`", help: "the server, or a proxy that speaks as it does",
		set: func(c *Config, v string) error {
			u, err := reputation.CheckURL(v)
			if err == nil {
				c.VirusTotal.URL = u.String()
			}
			return err
		}, get: func(c *Config) string { return c.VirusTotal.URL }},
	path("virustotal.ca", "/etc/snitch/proxy-ca.pem", "who vouches for it; without the line the system's authorities", func(c *Config) *string { return &c.VirusTotal.CA }),
}
