// Package admission owns what every request passes on its way in: who makes it and
// what they may do, how long its peer may take, and what is open, so that a drain
// can wait for it.
package admission
