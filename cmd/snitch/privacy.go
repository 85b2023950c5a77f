package main

import (
	"snitch/cmd/internal/config"
	"snitch/monitor/export"
)

// privacyOf is what the configuration lets be recorded.
func privacyOf(c config.Log) export.Privacy {
	return export.Privacy{Addresses: c.Addresses, Ports: c.Ports, Commands: c.Commands, Ignore: export.Ignore{
		Ports: c.Ignore.PortList(), Domains: c.Ignore.DomainList(), Networks: c.Ignore.NetworkList(), SHA256: c.Ignore.DigestList()}}
}
