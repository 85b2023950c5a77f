// Package geoip says in which country an address is, and, when such files are
// installed, in which city and network.
//
// A table of countries is part of the binary (README.md in this folder says
// whose, and how true it is). Files in the directory of a DB come before it:
// country.mmdb, city.mmdb and asn.mmdb in the MaxMind DB format, in the layout
// of MaxMind and of DB-IP (country.iso_code) as well as flat ones
// (country_code). Addresses that are in no country (loopback, private, link
// local and other special ranges) are never looked up: Scope names them.
//
// A DB is safe for concurrent use. Lookup allocates nothing for addresses
// without a city.
package geoip
