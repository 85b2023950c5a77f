// Package config reads snitch's configuration: one YAML file, strict. Every
// fault is reported with file, line and column, all at once; unknown settings
// are faults, with the one that was probably meant. A setting that is not in
// the file has its default, so the empty file and no file mean the same.
//
// Later issues add settings to the list in settings.go; nothing else changes.
package config
