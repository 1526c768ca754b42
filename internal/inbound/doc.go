// Package inbound owns the incoming connections of one port: their limits, their
// delivery to the listeners of each protocol, and the log of those that are refused.
package inbound
