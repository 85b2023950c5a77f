package main

import (
	"context"
	"path/filepath"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/geoip"
)

// placesDir is where in the state directory tables of places are installed.
const placesDir = "geoip"

// placesEvery is how often the daemon looks for tables that were installed.
const placesEvery = time.Minute

// openPlaces opens the tables of places of a state directory.
func (d *daemon) openPlaces(context.Context) (err error) {
	d.places, err = geoip.Open(filepath.Join(d.state.path, placesDir), d.log.With("component", "geoip"))
	return err
}

// refreshPlaces takes up tables as they are installed, until ctx ends.
func (d *daemon) refreshPlaces(ctx context.Context) error {
	tick := time.NewTicker(placesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.places.Refresh()
		}
	}
}

// place sets the country of a connection's peer.
func (d *daemon) place(c *event.Connection) { c.Country = d.places.Country(c.Remote.Addr()) }
