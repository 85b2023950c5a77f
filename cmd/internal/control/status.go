package control

import "time"

// Status is the answer to /v1/status; its field names are a contract.
type Status struct {
	Running     bool            `json:"running"`
	Version     string          `json:"version"`
	PID         int             `json:"pid"`
	State       string          `json:"state"` // directory
	Started     time.Time       `json:"started"`
	Uptime      float64         `json:"uptime"` // seconds
	Mode        string          `json:"mode"`
	Tier        string          `json:"tier"`
	Mechanisms  []Mechanism     `json:"mechanisms"`
	Events      Events          `json:"events"`
	Losses      map[string]Loss `json:"losses"` // by cause; only what was lost
	Connections Connections     `json:"connections"`
	Processes   int             `json:"processes"`
	Digests     Digests         `json:"digests"`
	Names       Names           `json:"names"`
	Packages    Packages        `json:"packages"`
	Database    Database        `json:"database"`
	Memory      Memory          `json:"memory"`
	Live        Live            `json:"live"`
	Outputs     []Output        `json:"outputs"`
	Reputation  *Reputation     `json:"reputation,omitempty"` // absent: VirusTotal is not asked
	Broker      Broker          `json:"broker"`
	Policy      Policy          `json:"policy"`
	Fleet       *Fleet          `json:"fleet,omitempty"` // absent: rules come from this machine
	Desktops    Desktops        `json:"desktops"`
	Remote      *Remote         `json:"remote,omitempty"`  // absent: nothing goes to another host
	Enforce     *Enforce        `json:"enforce,omitempty"` // absent: this daemon cannot enforce
}

// Mechanism is one program in the kernel and what it is for.
type Mechanism struct {
	Purpose string `json:"purpose"`
	Program string `json:"program"`
	At      string `json:"at"`
}

// Events counts what the kernel told since the start.
type Events struct {
	Execs    uint64 `json:"execs"`
	Forks    uint64 `json:"forks"`
	Exits    uint64 `json:"exits"`
	Payloads uint64 `json:"payloads"`
	Flows    uint64 `json:"flows"`
}

// Total is the sum of all kinds.
func (e Events) Total() uint64 { return e.Execs + e.Forks + e.Exits + e.Payloads + e.Flows }

// Loss is what was not recorded as it should have been, by one cause.
type Loss struct {
	Count    uint64 `json:"count"`
	Sent     uint64 `json:"sent"` // bytes, where known
	Received uint64 `json:"received"`
}

// Connections counts rows of the record since the start.
type Connections struct {
	Total    uint64 `json:"total"`
	Open     int    `json:"open"`
	Ignored  uint64 `json:"ignored"` // that the configuration does not want recorded; part of Total
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}

// Output is one output beside the database.
type Output struct {
	Name    string `json:"name"`
	Written uint64 `json:"written"`
	Lost    uint64 `json:"lost"` // it did not take; the database has them
	Waiting int    `json:"waiting"`
	Error   string `json:"error"` // of the last write, "" when it went well
}

// Reputation is what asking VirusTotal has come to.
type Reputation struct {
	Known    int    `json:"known"` // files with an answer
	Waiting  int    `json:"waiting"`
	Asked    uint64 `json:"asked"`
	Uploaded uint64 `json:"uploaded"`
	Dropped  uint64 `json:"dropped"` // no room to wait; asked when they are seen again
	Failed   uint64 `json:"failed"`
	Error    string `json:"error"` // of the last question, "" when it was answered
}

// Digests is how hashing does.
type Digests struct {
	Entries  int    `json:"entries"`
	Pending  int    `json:"pending"`
	Hits     uint64 `json:"hits"`
	Misses   uint64 `json:"misses"`
	Bytes    uint64 `json:"bytes"`    // read and hashed
	Fanotify string `json:"fanotify"` // "active", or why not
}

// Names is how names are learned.
type Names struct {
	Addresses int    `json:"addresses"` // that have a name
	Answers   uint64 `json:"answers"`   // DNS answers seen
	Believed  uint64 `json:"believed"`  // of these, paired with their query
	Hellos    uint64 `json:"hellos"`
	Resolved  string `json:"resolved"` // "connected", or why not
}

// Packages is how it is learned which package owns a program.
type Packages struct {
	Databases []PackageDatabase `json:"databases"` // that were needed so far
	Asked     uint64            `json:"asked"`
	Dropped   uint64            `json:"dropped"` // the queue was full: asked again by the next connection
	Failed    uint64            `json:"failed"`  // databases or files that could not be read, or not in time
}

// PackageDatabase is one of dpkg, rpm or pacman.
type PackageDatabase struct {
	Name     string  `json:"name"`
	Packages int     `json:"packages"`
	Files    int     `json:"files"`
	Bytes    uint64  `json:"bytes"`     // of memory
	LoadTime float64 `json:"load_time"` // seconds
}

// Desktops is who is notified of alerts.
type Desktops struct {
	Enabled bool   `json:"enabled"`
	Desks   int    `json:"desks"`   // people with a desktop
	Alerts  uint64 `json:"alerts"`  // to tell of
	Shown   uint64 `json:"shown"`   // notifications that a desktop took, each of one alert or more
	Dropped uint64 `json:"dropped"` // alerts that are told as a number only
	Failed  uint64 `json:"failed"`  // helpers that ended by an error
}

// Database is the record on disk.
type Database struct {
	Path      string    `json:"path"`
	Bytes     uint64    `json:"bytes"`
	Rows      uint64    `json:"rows"`
	Pending   uint64    `json:"pending"` // wait in memory for a commit
	Lost      uint64    `json:"lost"`
	Oldest    time.Time `json:"oldest,omitzero"`
	LastWrite time.Time `json:"last_write,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// Remote is the record on another host.
type Remote struct {
	Server       string    `json:"server"`
	Parcels      uint64    `json:"parcels"`  // delivered since the start
	Rows         uint64    `json:"rows"`     // in them
	Repeated     uint64    `json:"repeated"` // parcels that had arrived before, and were not written again
	Failed       uint64    `json:"failed"`   // attempts
	Waiting      uint64    `json:"waiting"`  // rows on disk
	WaitingBytes uint64    `json:"waiting_bytes"`
	Spool        uint64    `json:"spool"`  // most bytes that may wait
	Behind       float64   `json:"behind"` // seconds since the oldest of them was written
	Oldest       time.Time `json:"oldest,omitzero"`
	Dropped      uint64    `json:"dropped"` // rows that never left
	LastArrival  time.Time `json:"last_arrival,omitzero"`
	Problem      string    `json:"problem,omitempty"` // why the last attempt failed
}

// Memory of the daemon's processes in bytes. PSS shares out what several
// processes map; 0 where the kernel does not say.
type Memory struct {
	RSS       uint64 `json:"rss"`
	PSS       uint64 `json:"pss"`
	BrokerRSS uint64 `json:"broker_rss"`
	BrokerPSS uint64 `json:"broker_pss"`
}

// Live is the feed of /v1/live.
type Live struct {
	Clients int    `json:"clients"`
	Lost    uint64 `json:"lost"` // messages that clients did not take in time
}

// Broker is the process that starts helpers.
type Broker struct {
	PID     int      `json:"pid"`
	Alive   bool     `json:"alive"`
	Helpers []string `json:"helpers"`
	Starts  uint64   `json:"starts"`
	Failed  uint64   `json:"failed"`
}

// Policy is which rules hold, and how deciding goes.
type Policy struct {
	Source    string    `json:"source"`
	Revision  string    `json:"revision"`
	Loaded    time.Time `json:"loaded,omitzero"`
	LoadTime  float64   `json:"load_time"` // seconds, to compile
	Rules     int       `json:"rules"`
	Confine   int       `json:"confine"`
	LastGood  bool      `json:"last_good"`          // the source does not load: the kept set is used
	Error     string    `json:"error,omitempty"`    // why the source does not load, file:line:col, a line each
	Packages  int       `json:"packages"`           // of custom Rego
	Degraded  []string  `json:"degraded,omitempty"` // custom packages that do not answer
	Evaluated uint64    `json:"evaluated"`          // decisions made by OPA
	Errors    uint64    `json:"errors"`             // of these, that fell back
	CacheHits uint64    `json:"cache_hits"`
	Cached    int       `json:"cached"`
	Waiting   int       `json:"waiting"`   // rows that are not decided yet
	Undecided uint64    `json:"undecided"` // rows that never will be
	Slowest   float64   `json:"slowest"`   // seconds, of one decision
}

// Fleet is rules that come from where many hosts take theirs.
type Fleet struct {
	Kind       string    `json:"kind"` // bundle or git
	URL        string    `json:"url"`
	Host       string    `json:"host"`               // name of this host for staged roll-outs
	Revision   string    `json:"revision,omitempty"` // in use; "": the machine's own rules
	Serial     uint64    `json:"serial,omitempty"`   // of a bundle
	Previous   string    `json:"previous,omitempty"` // revision before it
	Changed    time.Time `json:"changed,omitzero"`
	Offered    string    `json:"offered,omitempty"` // revision that is published, as far as it was verified
	Percent    int       `json:"percent,omitempty"` // of the hosts that shall use it
	Drift      string    `json:"drift,omitempty"`   // why this host does not use it
	Held       string    `json:"held,omitempty"`    // revision that is not tried again
	HeldReason string    `json:"held_reason,omitempty"`
	TrialUntil time.Time `json:"trial_until,omitzero"` // the change is watched until then
	Checked    time.Time `json:"checked,omitzero"`     // when the source last answered
	Looks      uint64    `json:"looks"`                // at the source
	Failures   uint64    `json:"failures"`             // looks that failed
	Refused    uint64    `json:"refused"`              // looks that found what may not be used
	Returns    uint64    `json:"returns"`              // to the set before
}
