// Package ui is what the browser gets: the bundle, the styles, the map, the
// flags. Sources stand in src, libraries in npm; `make generate` makes dist of
// them (tools/webbuild), which is committed and embedded.
package ui
