// Package membership owns who belongs to a cluster: how an agent describes itself to
// others, which of them it accepts, and which agents found a cluster.
package membership
