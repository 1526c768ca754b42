// Package featuretests shows what a user can rely on, on real agents and on
// real processes. It owns the check of histories: what callers were told,
// against the rules of leases.
package featuretests
