// Command webbuild makes the files that the web interface is served from out of
// its sources: it bundles the TypeScript and the styles (esbuild, as a library:
// no node), draws the map of the world and packs the flags. What it makes is
// committed; a test compares.
//
// With -fetch it takes the libraries from npm anew, by the digests that are
// written here. Only that needs the npm command and a network.
package main
