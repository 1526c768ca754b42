// Package inbound owns the connections that come in at one port: how many there may
// be and of whom, who uses them and for how long, and why others are refused.
package inbound
