// Package config owns an agent's configuration: its types, defaults, file,
// environment and validation.
package config
