package apiserver

import "github.com/interrex/interrex"

// parse reads a key that is well-formed.
func parse(s string) interrex.Key {
	k, err := interrex.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return k
}
