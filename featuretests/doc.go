// Package featuretests shows what a user can rely on, on real agents and real
// processes. It owns the check of histories: the answers that callers got, against
// the rules of leases.
package featuretests
