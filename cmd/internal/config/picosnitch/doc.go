// Package picosnitch reads what picosnitch leaves on a host that moves to snitch:
// its configuration, in the JSON of its older versions and the TOML of its newer
// ones; its list of known programs; and its database of connections.
//
// It knows the formats from picosnitch's documentation. What has no counterpart
// here is named, never dropped in silence. All input is bounded and may be
// hostile.
package picosnitch
